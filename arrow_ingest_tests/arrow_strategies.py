"""Hypothesis strategies for every Arrow type that a message may carry: types, arrays, schemas, batches, tables.

Arrays have nulls, are slices of longer arrays, and nest. Values stay inside what every reader of the lake can hold:
temporal values lie between the years 1 and 9999 (nanoseconds: 1700 to 2250), nanoseconds with a time zone or of a time
of day are whole microseconds (DuckDB has no finer unit for them), floats are no NaN, keys are unique within a map.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

FLAT_TYPES: tuple[pa.DataType, ...] = (
    pa.bool_(),
    pa.int8(),
    pa.int16(),
    pa.int32(),
    pa.int64(),
    pa.uint8(),
    pa.uint16(),
    pa.uint32(),
    pa.uint64(),
    pa.float16(),
    pa.float32(),
    pa.float64(),
    pa.decimal32(9, 2),
    pa.decimal64(18, 0),
    pa.decimal256(38, 10),
    pa.decimal128(1, 0),
    pa.decimal128(18, 6),
    pa.decimal128(38, 38),
    pa.date32(),
    pa.date64(),
    pa.time32("s"),
    pa.time32("ms"),
    pa.time64("us"),
    pa.time64("ns"),
    *(pa.timestamp(unit) for unit in ("s", "ms", "us", "ns")),
    *(pa.timestamp(unit, "UTC") for unit in ("s", "ms", "us", "ns")),
    pa.timestamp("us", "+05:30"),
    pa.timestamp("us", "America/Los_Angeles"),
    pa.utf8(),
    pa.large_utf8(),
    pa.binary(),
    pa.large_binary(),
    pa.binary(1),
    pa.binary(16),
)
"""Every type without children that may also be the entries of a dictionary."""

OTHER_FLAT_TYPES: tuple[pa.DataType, ...] = (pa.string_view(), pa.binary_view(), pa.null())
"""The other types without children."""

INDEX_TYPES = (pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64())
MAP_KEY_TYPES = (pa.utf8(), pa.int32(), pa.int64(), pa.date32())

_DAY_MS = 86_400_000
_FIRST_DAY, _LAST_DAY = -719_162, 2_932_896  # 0001-01-01 and 9999-12-31
_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


def flat_types() -> st.SearchStrategy[pa.DataType]:
    """Types without children."""
    return st.sampled_from((*FLAT_TYPES, *OTHER_FLAT_TYPES))


def dictionary_types() -> st.SearchStrategy[pa.DataType]:
    """Dictionary-encoded flat types, with every index type."""
    return st.builds(pa.dictionary, st.sampled_from(INDEX_TYPES), st.sampled_from(FLAT_TYPES), ordered=st.booleans())


def _nested(inner: st.SearchStrategy[pa.DataType]) -> st.SearchStrategy[pa.DataType]:
    structs = st.lists(inner, min_size=1, max_size=3).map(
        lambda kinds: pa.struct([pa.field(f"f{i}", kind) for i, kind in enumerate(kinds)])
    )
    maps = st.builds(pa.map_, st.sampled_from(MAP_KEY_TYPES), inner)
    fixed_size_lists = st.builds(pa.list_, inner, _whole(1, 3))
    return st.one_of(inner.map(pa.list_), inner.map(pa.large_list), fixed_size_lists, structs, maps)


def supported_types(max_leaves: int = 4) -> st.SearchStrategy[pa.DataType]:
    """Every type that passes the allowlist as a column, nested ones included."""
    return st.recursive(st.one_of(flat_types(), dictionary_types()), _nested, max_leaves=max_leaves)


def _whole(low: int, high: int) -> st.SearchStrategy[int]:
    return st.integers(min_value=low, max_value=high)


def _timestamps(kind: pa.TimestampType) -> st.SearchStrategy[int]:
    if kind.unit == "ns":
        step = 1_000 if kind.tz else 1
        return _whole(-8_520_336_000 * 10**9 // step, 8_835_984_000 * 10**9 // step).map(lambda value: value * step)
    per_second = _PER_SECOND[kind.unit]
    return _whole(_FIRST_DAY * 86_400 * per_second, (_LAST_DAY * 86_400 + 86_399) * per_second)


def _times(kind: pa.DataType) -> st.SearchStrategy[int]:
    if kind.unit == "ns":
        return _whole(0, 86_400 * 10**6 - 1).map(lambda micros: micros * 1_000)
    return _whole(0, 86_400 * _PER_SECOND[kind.unit] - 1)


def _decimals(kind: pa.DataType) -> st.SearchStrategy[Decimal]:
    largest = 10**kind.precision - 1
    return _whole(-largest, largest).map(lambda value: Decimal(f"{value}e{-kind.scale}"))


_VALUES: tuple[tuple[Callable[[pa.DataType], bool], Callable[[Any], st.SearchStrategy[Any]]], ...] = (
    (pa.types.is_boolean, lambda _: st.booleans()),
    (pa.types.is_signed_integer, lambda kind: _whole(-(2 ** (kind.bit_width - 1)), 2 ** (kind.bit_width - 1) - 1)),
    (pa.types.is_unsigned_integer, lambda kind: _whole(0, 2**kind.bit_width - 1)),
    (pa.types.is_floating, lambda kind: st.floats(width=kind.bit_width, allow_nan=False)),
    (pa.types.is_decimal, _decimals),
    (pa.types.is_date32, lambda _: _whole(_FIRST_DAY, _LAST_DAY)),
    (pa.types.is_date64, lambda _: _whole(_FIRST_DAY, _LAST_DAY).map(lambda day: day * _DAY_MS)),
    (pa.types.is_time, _times),
    (pa.types.is_timestamp, _timestamps),
    (pa.types.is_fixed_size_binary, lambda kind: st.binary(min_size=kind.byte_width, max_size=kind.byte_width)),
    (
        lambda kind: pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind),
        lambda _: st.text(max_size=20),
    ),
    (
        lambda kind: pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind),
        lambda _: st.binary(max_size=20),
    ),
)


def values(kind: pa.DataType) -> st.SearchStrategy[Any]:
    """Python values of a flat type, as `pa.array(values, type)` takes them."""
    for is_kind, strategy in _VALUES:
        if is_kind(kind):
            return strategy(kind)
    raise NotImplementedError(str(kind))


@st.composite
def _flat_arrays(draw: st.DrawFn, kind: pa.DataType, length: int, *, nullable: bool, unique: bool = False) -> pa.Array:
    if pa.types.is_null(kind):
        return pa.nulls(length)
    value = st.one_of(st.none(), values(kind)) if nullable else values(kind)
    return pa.array(draw(st.lists(value, min_size=length, max_size=length, unique=unique)), kind)


@st.composite
def _masks(draw: st.DrawFn, length: int, *, nullable: bool) -> pa.Array | None:
    """None for "no nulls", else a boolean array that is true where the value is null."""
    if not nullable or draw(st.booleans()):
        return None
    return pa.array(draw(st.lists(st.booleans(), min_size=length, max_size=length)), pa.bool_())


@st.composite
def _list_arrays(draw: st.DrawFn, kind: pa.ListType, length: int, *, nullable: bool) -> pa.Array:
    sizes = draw(st.lists(_whole(0, 3), min_size=length, max_size=length))
    starts = [sum(sizes[:i]) for i in range(length + 1)]
    large = pa.types.is_large_list(kind)
    offsets = pa.array(starts, pa.int64() if large else pa.int32())
    child = draw(arrays(kind.value_type, length=starts[-1]))
    build = pa.LargeListArray.from_arrays if large else pa.ListArray.from_arrays
    return build(offsets, child, type=kind, mask=draw(_masks(length, nullable=nullable)))


@st.composite
def _fixed_size_list_arrays(draw: st.DrawFn, kind: pa.FixedSizeListType, length: int, *, nullable: bool) -> pa.Array:
    child = draw(arrays(kind.value_type, length=length * kind.list_size))
    return pa.FixedSizeListArray.from_arrays(child, type=kind, mask=draw(_masks(length, nullable=nullable)))


@st.composite
def _map_arrays(draw: st.DrawFn, kind: pa.MapType, length: int, *, nullable: bool) -> pa.Array:
    sizes = draw(st.lists(_whole(0, 2), min_size=length, max_size=length))
    starts = [sum(sizes[:i]) for i in range(length + 1)]
    keys = draw(_flat_arrays(kind.key_type, starts[-1], nullable=False, unique=True))
    items = draw(arrays(kind.item_type, length=starts[-1]))
    mask = draw(_masks(length, nullable=nullable))
    return pa.MapArray.from_arrays(pa.array(starts, pa.int32()), keys, items, type=kind, mask=mask)


@st.composite
def _struct_arrays(draw: st.DrawFn, kind: pa.StructType, length: int, *, nullable: bool) -> pa.Array:
    children = [draw(arrays(field.type, length=length, nullable=field.nullable)) for field in kind]
    return pa.StructArray.from_arrays(children, fields=list(kind), mask=draw(_masks(length, nullable=nullable)))


@st.composite
def _dictionary_arrays(draw: st.DrawFn, kind: pa.DictionaryType, length: int, *, nullable: bool) -> pa.Array:
    entries = draw(_flat_arrays(kind.value_type, draw(_whole(1, 4)), nullable=False))
    index = _whole(0, len(entries) - 1)
    picks = draw(st.lists(st.one_of(st.none(), index) if nullable else index, min_size=length, max_size=length))
    return pa.DictionaryArray.from_arrays(pa.array(picks, kind.index_type), entries, ordered=kind.ordered)


def _unsliced(kind: pa.DataType, length: int, *, nullable: bool) -> st.SearchStrategy[pa.Array]:
    if pa.types.is_dictionary(kind):
        return _dictionary_arrays(kind, length, nullable=nullable)
    if pa.types.is_map(kind):
        return _map_arrays(kind, length, nullable=nullable)
    if pa.types.is_struct(kind):
        return _struct_arrays(kind, length, nullable=nullable)
    if pa.types.is_fixed_size_list(kind):
        return _fixed_size_list_arrays(kind, length, nullable=nullable)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _list_arrays(kind, length, nullable=nullable)
    return _flat_arrays(kind, length, nullable=nullable)


@st.composite
def arrays(
    draw: st.DrawFn, kind: pa.DataType, *, length: int | None = None, max_length: int = 6, nullable: bool = True
) -> pa.Array:
    """Arrays of a supported type, often a slice of a longer one; `length` fixes the number of values."""
    wanted = draw(_whole(0, max_length)) if length is None else length
    before, after = draw(_whole(0, 2)), draw(_whole(0, 1))
    longer = draw(_unsliced(kind, before + wanted + after, nullable=nullable))
    return longer.slice(before, wanted)


def schemas(
    types: st.SearchStrategy[pa.DataType] | None = None, *, min_columns: int = 1, max_columns: int = 4
) -> st.SearchStrategy[pa.Schema]:
    """Schemas of nullable columns named c0, c1 and so on."""
    kinds = st.lists(supported_types() if types is None else types, min_size=min_columns, max_size=max_columns)
    return kinds.map(lambda chosen: pa.schema([pa.field(f"c{i}", kind) for i, kind in enumerate(chosen)]))


@st.composite
def record_batches(draw: st.DrawFn, schema: pa.Schema | None = None, *, max_rows: int = 6) -> pa.RecordBatch:
    """Record batches of a schema (any supported one by default), empty ones included."""
    columns = draw(schemas()) if schema is None else schema
    rows = draw(_whole(0, max_rows))
    return pa.record_batch([draw(arrays(field.type, length=rows)) for field in columns], schema=columns)


@st.composite
def tables(draw: st.DrawFn, schema: pa.Schema | None = None, *, max_batches: int = 3, max_rows: int = 6) -> pa.Table:
    """Tables of up to `max_batches` record batches that share a schema; dictionaries differ from batch to batch."""
    columns = draw(schemas()) if schema is None else schema
    batches = draw(st.lists(record_batches(columns, max_rows=max_rows), max_size=max_batches))
    return pa.Table.from_batches(batches, schema=columns)
