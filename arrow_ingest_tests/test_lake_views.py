"""What stands in a view's place where there is no value never counts: Arrow's casts reserve that much, or crash."""

import struct
from typing import Any

import pyarrow as pa
import pytest

from arrow_ingest.config import Limits
from arrow_ingest.ipc.decode import Decoded, decode
from arrow_ingest.lake.views import cast_leaf
from arrow_ingest_tests.staged_table import accepted
from arrow_ingest_tests.test_lake_conform import as_stream, conformed

TEXT = "2026-11-04T02:00:00.000Z"
"""Too long to be inlined, so that its view points at data; and a time."""


def with_wild_views(kind: pa.DataType) -> pa.Array:
    """A value, then two nulls whose views have a length below nothing and data of nowhere; then the value again."""
    value = struct.pack("<i4sii", len(TEXT), TEXT[:4].encode(), 0, 0)
    wild = struct.pack("<i4sii", -(2**31), b"wild", -1, 2**31 - 1)
    views = b"".join((value, wild, wild, value))
    return pa.Array.from_buffers(kind, 4, [pa.py_buffer(b"\x09"), pa.py_buffer(views), pa.py_buffer(TEXT.encode())])


def received(column: pa.Array) -> pa.RecordBatch:
    """The column as it comes out of a message."""
    sent = as_stream(pa.record_batch([column], ["c"]))
    decoded = decode(sent, Limits())
    assert isinstance(decoded, Decoded), decoded
    [batch] = decoded.batches
    return batch


def in_lists(values: pa.Array) -> pa.Array:
    return pa.ListArray.from_arrays([0, 1, 3, 4], values)


def in_large_lists(values: pa.Array) -> pa.Array:
    return pa.LargeListArray.from_arrays([0, 1, 3, 4], values)


def in_pairs(values: pa.Array) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(values, 2)


def in_structs(values: pa.Array) -> pa.Array:
    return pa.StructArray.from_arrays([values], ["text"])


def in_maps(values: pa.Array) -> pa.Array:
    return pa.MapArray.from_arrays([0, 1, 3, 4], pa.array(["a", "b", "c", "d"]), values)


@pytest.mark.parametrize("kind", [pa.string_view(), pa.binary_view()], ids=str)
@pytest.mark.parametrize(
    ("nested", "rows"),
    [
        (lambda values: values, lambda v: [v, None, None, v]),
        (in_lists, lambda v: [[v], [None, None], [v]]),
        (in_large_lists, lambda v: [[v], [None, None], [v]]),
        (in_pairs, lambda v: [[v, None], [None, v]]),
        (in_structs, lambda v: [{"text": v}, {"text": None}, {"text": None}, {"text": v}]),
        (in_maps, lambda v: [[("a", v)], [("b", None), ("c", None)], [("d", v)]]),
    ],
)
def test_nulls_stay_nulls_at_any_depth(kind: pa.DataType, nested: Any, rows: Any) -> None:
    done = accepted(conformed(received(nested(with_wild_views(kind)))))
    value = TEXT if kind == pa.string_view() else TEXT.encode()
    assert done.batch.column("c").to_pylist() == rows(value)
    done.batch.validate(full=True)


@pytest.mark.parametrize("policy", ["dead_letter", "null"])
def test_a_declared_cast_does_not_follow_them_either(policy: str) -> None:
    batch = received(with_wild_views(pa.string_view()))
    done = accepted(conformed(batch, columns={"c": "timestamptz"}, on_cast_error=policy))
    assert [at is not None for at in done.batch.column("c").to_pylist()] == [True, False, False, True]


def test_nulls_that_claim_more_than_there_is_memory_are_nulls() -> None:
    """Together, more than an address space has: a run would say that it lacks memory, and so would the next one."""
    count = 100_000
    views = struct.pack("<i4sii", 2**31 - 1, b"wild", 0, 0) * count
    nulls = pa.Array.from_buffers(pa.string_view(), count, [pa.py_buffer(bytes(count // 8)), pa.py_buffer(views)])
    assert accepted(conformed(received(nulls))).batch.column("c").null_count == count


def test_a_part_of_a_column_is_cast_as_the_whole_is() -> None:
    part = with_wild_views(pa.string_view())[1:]
    assert cast_leaf(part, pa.string()).to_pylist() == [None, None, TEXT]


def test_views_that_mean_something_are_still_validated() -> None:
    wild = with_wild_views(pa.string_view())
    claimed = pa.Array.from_buffers(wild.type, 4, [None, *wild.buffers()[1:]])
    sent = as_stream(pa.record_batch([claimed], ["c"]))
    assert not isinstance(decode(sent, Limits()), Decoded)
