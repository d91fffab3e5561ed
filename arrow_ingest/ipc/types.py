"""Which Arrow types may come in, and what to send instead of the others; pure.

Allowed is what DuckLake can hold, as it is or after a cast that loses nothing. Refused is what it cannot hold, and what
claims any size in a few bytes, even if it is fit (run-end encoding, list views).
"""

import re
from collections.abc import Iterable

import pyarrow as pa
from pyarrow import lib

MAX_DECIMAL_DIGITS = 38
"""DuckDB's widest decimal."""

_TIME_ZONE = re.compile(r"[A-Za-z0-9_+:/-]{1,64}")

_VIEWS = frozenset({lib.Type_STRING_VIEW, lib.Type_BINARY_VIEW})
_LISTS = frozenset({lib.Type_LIST, lib.Type_LARGE_LIST, lib.Type_FIXED_SIZE_LIST})
_DECIMALS = frozenset({lib.Type_DECIMAL32, lib.Type_DECIMAL64, lib.Type_DECIMAL128, lib.Type_DECIMAL256})
_FLAT = frozenset(
    {
        *(lib.Type_BOOL, lib.Type_HALF_FLOAT, lib.Type_FLOAT, lib.Type_DOUBLE),
        *(lib.Type_INT8, lib.Type_INT16, lib.Type_INT32, lib.Type_INT64),
        *(lib.Type_UINT8, lib.Type_UINT16, lib.Type_UINT32, lib.Type_UINT64),
        *(lib.Type_DATE32, lib.Type_DATE64, lib.Type_TIME32, lib.Type_TIME64, lib.Type_TIMESTAMP),
        *(lib.Type_STRING, lib.Type_LARGE_STRING, lib.Type_BINARY, lib.Type_LARGE_BINARY),
        *(lib.Type_FIXED_SIZE_BINARY, *_DECIMALS),
    }
)
"""Types without children that may also be the entries of a dictionary; some have parameters to look at."""

_INSTEAD = {
    lib.Type_DURATION: "int64",
    lib.Type_INTERVAL_MONTHS: "int32",
    lib.Type_INTERVAL_DAY_TIME: "a struct of integers",
    lib.Type_INTERVAL_MONTH_DAY_NANO: "a struct of integers",
    lib.Type_LIST_VIEW: "list",
    lib.Type_LARGE_LIST_VIEW: "large_list",
    lib.Type_RUN_END_ENCODED: "the plain values",
    lib.Type_SPARSE_UNION: "a struct with a nullable field for each member",
    lib.Type_DENSE_UNION: "a struct with a nullable field for each member",
}


def refusal(kind: pa.DataType) -> str | None:
    """Why a column cannot have this type and what to send instead; None when it can.

    >>> refusal(pa.list_(pa.struct({"at": pa.timestamp("us", "UTC"), "text": pa.string_view()}), 2))
    >>> refusal(pa.map_(pa.utf8(), pa.duration("s")))
    'duration[s]: send int64'
    """
    if kind.id == lib.Type_NA or kind.id in _VIEWS:
        return None
    if kind.id in _LISTS:
        return refusal(kind.value_type) or _zero_width_refusal(kind)
    if kind.id == lib.Type_STRUCT:
        return _first_refusal(kind.fields) or _zero_width_refusal(kind)
    if kind.id == lib.Type_MAP:
        if kind.key_type.id == lib.Type_NA:
            return f"{kind}: send keys of a type, which cannot be null"
        return _first_refusal([kind.key_field, kind.item_field])
    if kind.id == lib.Type_DICTIONARY:
        return _dictionary_refusal(kind)
    return _flat_refusal(kind)


def _first_refusal(fields: Iterable[pa.Field]) -> str | None:
    return next((fault for field in fields if (fault := refusal(field.type))), None)


def _zero_width_refusal(kind: pa.DataType) -> str | None:
    """Values that take no bytes can be claimed in any number, and Parquet has none.

    >>> _zero_width_refusal(pa.struct([])), _zero_width_refusal(pa.list_(pa.int8(), 0))
    ('struct<>: send a struct with a field', 'fixed_size_list<item: int8>[0]: send list')
    """
    if kind.id == lib.Type_STRUCT and not kind.num_fields:
        return f"{kind}: send a struct with a field"
    if kind.id == lib.Type_FIXED_SIZE_LIST and kind.list_size < 1:
        return f"{kind}: send list"
    if kind.id == lib.Type_FIXED_SIZE_BINARY and kind.byte_width < 1:
        return f"{kind}: send binary"
    return None


def _dictionary_refusal(kind: pa.DictionaryType) -> str | None:
    """Arrow cannot decode dictionaries of views, and dictionaries of nested values can nest dictionaries.

    >>> _dictionary_refusal(pa.dictionary(pa.int8(), pa.list_(pa.int8())))
    'dictionary of list<item: int8>: send the values themselves'
    """
    if kind.value_type.id not in _FLAT:
        return f"dictionary of {kind.value_type}: send the values themselves"
    return _flat_refusal(kind.value_type)


def _flat_refusal(kind: pa.DataType) -> str | None:
    """Why a type without children is refused.

    >>> _flat_refusal(pa.decimal128(5, -2))
    'decimal128(5, -2): send decimal128 of at most 38 digits and a scale from 0 to the digits'
    >>> _flat_refusal(pa.timestamp("us", "somewhere else"))
    'timestamp[us, tz=somewhere else]: send a time zone such as UTC, Europe/Berlin or +01:00'
    """
    if kind.id not in _FLAT:
        return f"{kind}: send {_INSTEAD.get(kind.id, 'another type')}"
    if kind.id in _DECIMALS and not 0 <= kind.scale <= kind.precision <= MAX_DECIMAL_DIGITS:
        return f"{kind}: send decimal128 of at most {MAX_DECIMAL_DIGITS} digits and a scale from 0 to the digits"
    if kind.id == lib.Type_TIMESTAMP and kind.tz and not _TIME_ZONE.fullmatch(kind.tz):
        return f"{kind}: send a time zone such as UTC, Europe/Berlin or +01:00"
    return _zero_width_refusal(kind)
