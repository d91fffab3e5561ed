"""Every Arrow type to what becomes of it: the table of `docs/types.md`, read from the rules that the pipeline runs."""

from collections.abc import Mapping

import pyarrow as pa
from pyarrow import lib

from arrow_ingest.ipc.types import refusal
from arrow_ingest.lake.sqltypes import sql_text, storable

SAMPLES: tuple[pa.DataType, ...] = (
    pa.bool_(),
    *(pa.int8(), pa.int16(), pa.int32(), pa.int64()),
    *(pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()),
    *(pa.float16(), pa.float32(), pa.float64()),
    *(pa.decimal32(9, 2), pa.decimal64(18, 2), pa.decimal128(38, 10), pa.decimal256(38, 10), pa.decimal256(76, 10)),
    *(pa.string(), pa.large_string(), pa.string_view()),
    *(pa.binary(), pa.large_binary(), pa.binary_view(), pa.binary(16)),
    *(pa.date32(), pa.date64()),
    *(pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns")),
    *(pa.timestamp("s"), pa.timestamp("ms"), pa.timestamp("us"), pa.timestamp("ns")),
    *(pa.timestamp("s", "UTC"), pa.timestamp("ms", "UTC"), pa.timestamp("us", "UTC"), pa.timestamp("ns", "UTC")),
    *(pa.list_(pa.int32()), pa.large_list(pa.int32()), pa.list_(pa.int32(), 3)),
    pa.struct([("a", pa.int32()), ("b", pa.string())]),
    pa.map_(pa.string(), pa.int32()),
    *(pa.dictionary(pa.int32(), pa.string()), pa.dictionary(pa.int32(), pa.list_(pa.int32()))),
    pa.null(),
    *(pa.duration("us"), pa.month_day_nano_interval()),
    *(pa.list_view(pa.int32()), pa.large_list_view(pa.int32())),
    pa.run_end_encoded(pa.int32(), pa.string()),
    *(pa.sparse_union([pa.field("a", pa.int32())]), pa.dense_union([pa.field("a", pa.int32())])),
)
"""One of every type that pyarrow can make, several where a parameter decides."""

_NOTES: Mapping[int, str] = {
    lib.Type_TIME64: "nanoseconds: a value that is no whole microsecond is refused",
    lib.Type_DICTIONARY: "decoded",
    lib.Type_NA: "no column yet; it is added once a message brings a type",
    lib.Type_LIST: "of any type in this table that has a column",
    lib.Type_STRUCT: "fields by name, whatever their order",
    lib.Type_MAP: "keys cannot be null",
    lib.Type_DATE64: "whole days only",
}


def type_table() -> str:
    """The table, Markdown: what arrives, which column it becomes, and whether its bytes are copied."""
    head = ["| Arrow type | DuckLake column | bytes | remarks |", "|---|---|---|---|"]
    return "\n".join([*head, *(_row(kind) for kind in SAMPLES)]) + "\n"


def _row(kind: pa.DataType) -> str:
    column, in_place, remark = _fate(kind)
    return f"| `{kind}` | {column} | {in_place} | {remark} |"


def _fate(kind: pa.DataType) -> tuple[str, str, str]:
    """Column, what happens to the bytes, remark.

    >>> _fate(pa.int8()), _fate(pa.duration("s"))
    (('`TINYINT`', 'in place', ''), ('refused', '', 'send int64'))
    """
    if (reason := refusal(kind)) is not None:
        return "refused", "", reason.removeprefix(f"{kind}: ").removeprefix("dictionary of list<item: int32>: ")
    held = storable(kind)
    if held is None:
        return "refused", "", "DuckLake has no such type"
    if pa.types.is_null(held):
        return "none", "", _NOTES[kind.id]
    return f"`{sql_text(held)}`", "in place" if held == kind else "converted", _note(kind)


def _note(kind: pa.DataType) -> str:
    if kind.id == lib.Type_TIMESTAMP and kind.tz:
        finer = "; a value that is no whole microsecond is refused" if kind.unit == "ns" else ""
        return f"the instant; the zone's name is not kept{finer}"
    return _NOTES.get(kind.id, "") if kind != pa.time64("us") else ""
