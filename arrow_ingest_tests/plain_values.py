"""Arrow values as plain Python values that can be compared, whatever the layout of their arrays."""

from typing import Any

import pyarrow as pa

from arrow_ingest.lake.sqltypes import is_any_list


def plain_values(array: pa.Array | pa.ChunkedArray) -> list[Any]:
    """Python values; instants as nanoseconds and dates as days, so that no value is out of Python's range."""
    return [_plain(value) for value in array]


def _plain(value: pa.Scalar) -> Any:
    if not value.is_valid:
        return None
    if isinstance(value, pa.DictionaryScalar):
        return _plain(value.value)
    if isinstance(value, pa.StructScalar):
        return {name: _plain(value[name]) for name in value.type.names}
    if isinstance(value, pa.MapScalar):
        return [(_plain(pair["key"]), _plain(pair["value"])) for pair in value.values]
    if isinstance(value, pa.ListScalar):
        return [_plain(item) for item in value.values]
    if isinstance(value, pa.TimestampScalar):
        return value.value * {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}[value.type.unit]
    if isinstance(value, pa.Date32Scalar):
        return value.value
    if isinstance(value, pa.Date64Scalar):
        return value.value // 86_400_000
    return value.as_py()


def as_stored(value: Any, kind: pa.DataType, stored: pa.DataType) -> Any:
    """What a value of ``kind`` reads as in a column of type ``stored``: fields by name, those missing null."""
    if value is None or pa.types.is_null(kind):
        return None
    if pa.types.is_struct(kind):
        fields = {field.name.lower(): (field.name, field.type) for field in kind}
        return {
            field.name: as_stored(value[fields[field.name.lower()][0]], fields[field.name.lower()][1], field.type)
            if field.name.lower() in fields
            else None
            for field in stored
        }
    if pa.types.is_map(kind):
        return [(key, as_stored(item, kind.item_type, stored.item_type)) for key, item in value]
    if is_any_list(kind):
        return [as_stored(item, kind.value_type, stored.value_type) for item in value]
    return value
