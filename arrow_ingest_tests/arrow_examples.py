"""An array of every type that a message may carry, and payloads of them: what mutations begin with."""

from decimal import Decimal
from typing import Any

import pyarrow as pa

from arrow_ingest_tests.arrow_payloads import stream_of
from arrow_ingest_tests.arrow_strategies import FLAT_TYPES, OTHER_FLAT_TYPES

COMPRESSIONS = (None, "lz4", "zstd")


def two_values(kind: pa.DataType) -> list[Any]:
    """Two values of a flat type; texts long enough that a view of them is not inlined."""
    if pa.types.is_null(kind):
        return [None, None]
    if pa.types.is_fixed_size_binary(kind):
        return [bytes(kind.byte_width), b"x" * kind.byte_width]
    if pa.types.is_decimal(kind):
        return [Decimal(0), Decimal(f"1e{-kind.scale}")]
    if pa.types.is_boolean(kind):
        return [True, False]
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_temporal(kind):
        return [0, 86_400_000 if pa.types.is_date64(kind) else 1]
    return ["é" * 10, ""] if "string" in str(kind) else [b"\xff" * 20, b""]


def flat_array(kind: pa.DataType) -> pa.Array:
    first, second = two_values(kind)
    return pa.array([first, None, second], kind)


TEXTS = ["a", None, "b"]
NESTED = {
    "dictionary": pa.array(TEXTS).dictionary_encode(),
    "list": pa.array([[1, None], None, []], pa.list_(pa.int16())),
    "large_list": pa.array([["a"], None, []], pa.large_list(pa.utf8())),
    "fixed_size_list": pa.array([[1, 2], None, [3, None]], pa.list_(pa.int8(), 2)),
    "struct": pa.array([{"x": 1, "y": "a"}, None, {"x": None, "y": None}]),
    "list_of_structs": pa.array([[{"x": 1}, None], None, []]),
    "map": pa.array([[("k", 1)], None, []], pa.map_(pa.utf8(), pa.int8())),
    "list_of_dictionary": pa.ListArray.from_arrays(pa.array([0, 1, 1, 3]), pa.array(TEXTS).dictionary_encode()),
    "list_of_views": pa.array([["a" * 20, None], None, []], pa.list_(pa.string_view())),
}
EXAMPLES = {str(kind): flat_array(kind) for kind in (*FLAT_TYPES, *OTHER_FLAT_TYPES)} | NESTED


def payload_of(array: pa.Array, compression: str | None = None) -> pa.Buffer:
    return stream_of(pa.record_batch([array], ["c"]), compression)
