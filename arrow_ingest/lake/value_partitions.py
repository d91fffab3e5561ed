"""A column's values in, the table partition of each and its names out: for tables partitioned by value.

DuckLake takes the value of such a column from the folder's name, not from the file, so the name has to say exactly what
the value is; what no folder can say is refused.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from urllib.parse import quote, unquote

import pyarrow as pa
import pyarrow.compute as pc

from arrow_ingest.lake.time_partitions import NO_PARTITION, NULL_FOLDER
from arrow_ingest.values import Reason, Rejection

MAX_FOLDER_BYTES = 255
"""Longest name that the file systems of Linux and macOS take; in URL-encoded form, `name=` included."""

EMPTY_KEY = "%"
"""Dagster's key of the empty text: an empty key would be none to it."""

_READ_AS_NULL = re.compile(f"null|{NULL_FOLDER}", re.IGNORECASE)
"""Folders that DuckDB takes for NULL by their bare spelling; with a letter encoded they are the text (measured)."""

_NOT_IN_KEYS = re.compile(r"%|[\x00-\x1f\x7f]|\.{3,}")
"""What Dagster refuses in a key (control characters; three dots name a range), and the sign that encodes it."""


@dataclass(frozen=True, slots=True)
class ValuePartitions:
    """The partitions of a batch's rows.

    Args:
        numbers: per row, the index of its partition in ``names``; `NO_PARTITION` for NULL.
        names: keys and folders.
    """

    numbers: pa.Int32Array
    names: tuple[tuple[str, str], ...]
    null_folder: str

    def name(self, number: int) -> tuple[str | None, str]:
        """A partition's key as Dagster gets it, and its folder below the table's."""
        return (None, self.null_folder) if number == NO_PARTITION else self.names[number]


def is_partitionable(kind: pa.DataType) -> bool:
    """Whether a storable type may partition a table by value: text, integers, booleans and dates.

    >>> is_partitionable(pa.string()), is_partitionable(pa.float64())
    (True, False)
    """
    return bool(
        pa.types.is_string(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_date32(kind)
    )


def value_partitions(column: pa.Array, name: str, *, most: int) -> ValuePartitions | Rejection:
    """Where the rows of a conformed column belong; a rejection when a folder cannot say one of its values.

    Args:
        most: partitions that rows of one message may fall into.

    >>> value_partitions(pa.array(["a/b", None, "a/b"]), "team", most=400).names
    (('a/b', 'team=a%2Fb'),)
    """
    encoded = column.dictionary_encode()
    if (found := len(encoded.dictionary)) > most:
        return Rejection(Reason.TOO_MANY_PARTITIONS, f"{found} values of column {name}, over {most}")
    names: list[tuple[str, str]] = []
    for index, text in enumerate(_texts(encoded.dictionary)):
        folder = None if text is None else folder_of(text, name)
        if text is None or folder is None:
            shown = encoded.dictionary[index : index + 1].to_string(skip_new_lines=True, element_size_limit=80)
            return Rejection(Reason.PARTITION_VALUE, f"column {name}: no folder can be named by the value of {shown}")
        names.append((key_of_text(text), folder))
    numbers = pc.fill_null(encoded.indices, NO_PARTITION)
    return ValuePartitions(numbers, tuple(names), f"{name}={NULL_FOLDER}")


def folder_of(text: str, name: str) -> str | None:
    """The folder of a value, URL-encoded as DuckDB reads it; None when there is none that could be made or read.

    >>> folder_of("100 %", "v"), folder_of("NULL", "v"), folder_of("", "v"), folder_of("x" * 254, "v")
    ('v=100%20%25', 'v=%4EULL', 'v=', None)
    """
    encoded = quote(text, safe="")
    if _READ_AS_NULL.fullmatch(text):
        encoded = f"%{ord(text[0]):02X}{text[1:]}"
    folder = f"{name}={encoded}"
    # DuckLake writes the value into its catalog's SQL text, which a NUL ends (measured).
    return folder if len(folder) <= MAX_FOLDER_BYTES and "\0" not in text else None


def key_of_text(text: str) -> str:
    """A value as Dagster's partition key: itself, save for what a key cannot hold, which is URL-encoded.

    >>> key_of_text("New York"), key_of_text("5 %"), key_of_text("a...b"), key_of_text("")
    ('New York', '5 %25', 'a%2E%2E%2Eb', '%')
    """
    return _NOT_IN_KEYS.sub(_encoded, text) or EMPTY_KEY


def text_of_key(key: str) -> str:
    """The value of a partition key: the reverse of `key_of_text`.

    >>> text_of_key(key_of_text("a%20...")), text_of_key("%")
    ('a%20...', '')
    """
    return "" if key == EMPTY_KEY else unquote(key)


def _encoded(found: re.Match[str]) -> str:
    return "".join(f"%{ord(character):02X}" for character in found[0])


def _texts(values: pa.Array) -> Sequence[str | None]:
    """Values as DuckDB writes them; None for a day of which Python's calendar, and a hive folder's, knows no name."""
    if pa.types.is_date32(values.type):
        first, last, epoch = (day.toordinal() for day in (date.min, date.max, date(1970, 1, 1)))
        ordinals = [day + epoch for day in values.view(pa.int32()).to_pylist()]
        return [date.fromordinal(day).isoformat() if first <= day <= last else None for day in ordinals]
    if pa.types.is_boolean(values.type):
        return [str(value).lower() for value in values.to_pylist()]
    return [str(value) for value in values.to_pylist()]
