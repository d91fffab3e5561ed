"""Two storable Arrow types in, the type that a table column takes on, or None for a conflict. Pure.

A widening is applied when it is lossless for every value and DuckLake can both alter the column to it and still read
files of the narrower type, older ones as well as those staged in the same micro-batch.
"""

import pyarrow as pa

from arrow_ingest.lake.sqltypes import MAX_DECIMAL_DIGITS, fold, list_of

_SIGNED = (pa.int8(), pa.int16(), pa.int32(), pa.int64())
_UNSIGNED = (pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64())
_TIMESTAMPS = (pa.timestamp("s"), pa.timestamp("ms"), pa.timestamp("us"))
"""DuckDB computes with seconds and milliseconds through microseconds, so all three hold the same instants. Nanoseconds
hold the years 1677 to 2262 only: no widening leads there."""


def merged(held: pa.DataType, incoming: pa.DataType) -> pa.DataType | None:
    """The type of a column that holds ``held`` once it also takes ``incoming`` values; None where they conflict.

    >>> merged(pa.int32(), pa.uint32()), merged(pa.uint64(), pa.int8())
    (DataType(int64), None)
    >>> merged(pa.struct([("a", pa.int8())]), pa.struct([("B", pa.string()), ("A", pa.int16())]))
    StructType(struct<a: int16, B: string>)
    >>> merged(pa.float64(), pa.int32()), merged(pa.int32(), pa.float64()), merged(pa.float64(), pa.int64())
    (DataType(double), None, None)
    """
    if held == incoming or pa.types.is_null(incoming):
        return held
    if isinstance(held, pa.StructType) and isinstance(incoming, pa.StructType):
        return _merged_structs(held, incoming)
    if isinstance(held, pa.ListType) and isinstance(incoming, pa.ListType):
        item = merged(held.value_type, incoming.value_type)
        return None if item is None else list_of(item)
    if isinstance(held, pa.MapType) and isinstance(incoming, pa.MapType):
        item = merged(held.item_type, incoming.item_type)
        return pa.map_(held.key_type, item) if item is not None and held.key_type == incoming.key_type else None
    if pa.types.is_decimal128(held) and pa.types.is_decimal128(incoming):
        return _merged_decimals(held, incoming)
    return _merged_numbers(held, incoming) or _widest(_TIMESTAMPS, held, incoming)


def _merged_structs(held: pa.StructType, incoming: pa.StructType) -> pa.DataType | None:
    """Fields of ``held`` first, in its order and spelling, then the new ones."""
    offered = {fold(field.name): field for field in incoming}
    fields: list[tuple[str, pa.DataType]] = []
    for field in held:
        match = offered.pop(fold(field.name), None)
        kind = field.type if match is None else merged(field.type, match.type)
        if kind is None:
            return None
        fields.append((field.name, kind))
    return pa.struct(fields + [(field.name, field.type) for field in offered.values()])


def _merged_decimals(held: pa.Decimal128Type, incoming: pa.Decimal128Type) -> pa.DataType | None:
    scale = max(held.scale, incoming.scale)
    digits = max(held.precision - held.scale, incoming.precision - incoming.scale) + scale
    return pa.decimal128(digits, scale) if digits <= MAX_DECIMAL_DIGITS else None


def _merged_numbers(held: pa.DataType, incoming: pa.DataType) -> pa.DataType | None:
    if pa.types.is_floating(held):
        return _float_with(held, incoming)
    return (
        _widest(_SIGNED, held, incoming)
        or _widest(_UNSIGNED, held, incoming)
        or _signed_above(held, incoming)
        or _signed_above(incoming, held)
    )


def _float_with(held: pa.DataType, incoming: pa.DataType) -> pa.DataType | None:
    """A float column takes floats, and integers that it represents exactly.

    An integer column never becomes a float: DuckLake alters it, but then refuses the integer files that the same
    micro-batch may have staged before.
    """
    if pa.types.is_floating(incoming):
        return pa.float64()
    exact_bits = 24 if held == pa.float32() else 53
    return held if pa.types.is_integer(incoming) and incoming.bit_width <= exact_bits else None


def _widest(ladder: tuple[pa.DataType, ...], one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    if one in ladder and other in ladder:
        return ladder[max(ladder.index(one), ladder.index(other))]
    return None


def _signed_above(unsigned: pa.DataType, signed: pa.DataType) -> pa.DataType | None:
    """The smallest signed type that holds both; none holds uint64."""
    if unsigned not in _UNSIGNED[:-1] or signed not in _SIGNED:
        return None
    return _SIGNED[max(_UNSIGNED.index(unsigned) + 1, _SIGNED.index(signed))]
