"""Which names columns and struct fields may have; pure.

DuckDB would decide otherwise: it cuts names at NUL, renames "A" beside "a", and takes empty names.
"""

from collections.abc import Iterable, Iterator

import pyarrow as pa

from arrow_ingest.table_shape import ALL_METADATA_COLUMNS

RESERVED_NAMES = frozenset(
    {
        *ALL_METADATA_COLUMNS,
        *("row_id", "begin_snapshot", "end_snapshot", "_ducklake_internal_row_id", "_ducklake_internal_snapshot_id"),
    }
)
"""Columns that arrow_ingest adds itself, and those that DuckLake refuses in tables that may have inlined rows."""


def refusal(schema: pa.Schema, max_length: int) -> str | None:
    """Why a schema's names cannot be used; None when they can. Case does not tell names apart.

    >>> refusal(pa.schema({"id": pa.int64(), "at": pa.struct({"id": pa.int64()})}), max_length=255)
    >>> refusal(pa.schema({"id": pa.int64(), "ID": pa.int64()}), max_length=255)
    "column 'ID' has a twin"
    >>> refusal(pa.schema({"at": pa.list_(pa.struct({"": pa.int64()}))}), max_length=255)
    "field of 'at': '' is empty"
    >>> refusal(pa.schema({"_kafka_offset": pa.int64()}), max_length=255)
    "column '_kafka_offset' is reserved"
    """
    if fault := _first_fault(schema.names, max_length):
        return f"column {fault}"
    if reserved := next((name for name in schema.names if name.lower() in RESERVED_NAMES), None):
        return f"column {reserved!r} is reserved"
    for column in schema:
        for names in _struct_names(column.type):
            if fault := _first_fault(names, max_length):
                return f"field of {column.name!r}: {fault}"
    return None


def _first_fault(names: Iterable[str], max_length: int) -> str | None:
    """What is wrong with names that stand side by side."""
    seen: set[str] = set()
    for name in names:
        folded = name.casefold()
        if fault := "has a twin" if folded in seen else _fault(name, max_length):
            return f"{name[:max_length]!r} {fault}"
        seen.add(folded)
    return None


def _fault(name: str, max_length: int) -> str | None:
    r"""What is wrong with one name, whatever stands beside it.

    >>> _fault("\u202eevil", 255), _fault("a\0b", 255), _fault("größe {m}", 255), _fault("aaa", 2)
    ('has an invisible character', 'has an invisible character', None, 'has more than 2 characters')
    """
    if not name:
        return "is empty"
    if len(name) > max_length:
        return f"has more than {max_length} characters"
    if not name.isprintable():
        return "has an invisible character"
    return None


def _struct_names(kind: pa.DataType) -> Iterator[list[str]]:
    """The field names of each struct inside a type. Lists and maps name their children too, but no reader sees it."""
    if pa.types.is_struct(kind):
        yield [field.name for field in kind]
        for field in kind:
            yield from _struct_names(field.type)
    elif pa.types.is_map(kind):
        yield from _struct_names(kind.key_type)
        yield from _struct_names(kind.item_type)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        yield from _struct_names(kind.value_type)
