"""What a producer wrote is what is decoded, at any alignment, and uncompressed columns are not copied."""

import gc
import weakref
from collections.abc import Iterator

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arrow_ingest.config import Limits
from arrow_ingest.ipc.decode import Decoded, decode
from arrow_ingest.values import CopyCause
from arrow_ingest_tests.arrow_payloads import END_OF_STREAM, frames_of, misaligned, schema_stream, stream_of
from arrow_ingest_tests.arrow_strategies import tables

LIMITS = Limits()
EVENTS = pa.table({"id": pa.array([1, 2, None]), "name": ["a", None, "ccc"], "tags": [["x"], [], None]})


def decoded(payload: pa.Buffer) -> Decoded:
    result = decode(payload, LIMITS)
    assert isinstance(result, Decoded), result
    return result


def table_of(result: Decoded) -> pa.Table:
    return pa.Table.from_batches(result.batches, schema=result.schema)


def arrays_inside(array: pa.Array) -> Iterator[pa.Array]:
    """An array and everything below it, dictionaries too."""
    yield array
    if pa.types.is_dictionary(array.type):
        yield from arrays_inside(array.dictionary)
    elif pa.types.is_struct(array.type):
        for i in range(array.type.num_fields):
            yield from arrays_inside(array.field(i))
    elif pa.types.is_map(array.type):
        yield from arrays_inside(array.keys)
        yield from arrays_inside(array.items)
    elif hasattr(array, "values"):
        yield from arrays_inside(array.values)


def addresses(result: Decoded) -> list[tuple[int, int]]:
    """Start and stop of every buffer that holds something."""
    inside = [found for batch in result.batches for column in batch.columns for found in arrays_inside(column)]
    buffers = [buffer for array in inside for buffer in array.buffers() if buffer is not None and buffer.size]
    return [(buffer.address, buffer.address + buffer.size) for buffer in buffers]


@settings(deadline=None)
@given(tables(), st.sampled_from([None, "lz4", "zstd"]))
def test_every_supported_type_comes_back_identical(table: pa.Table, compression: str | None) -> None:
    result = decoded(stream_of(table, compression))

    assert table_of(result).equals(table, check_metadata=True)
    assert result.rows == table.num_rows
    assert len(result.batches) == len(table.to_batches())


@settings(deadline=None)
@given(tables(), st.integers(min_value=1, max_value=7))
def test_a_misaligned_payload_is_read_in_place(table: pa.Table, offset: int) -> None:
    payload = misaligned(stream_of(table), offset)
    result = decoded(payload)

    assert table_of(result).equals(table)
    assert not result.copies.by_cause
    for start, stop in addresses(result):
        assert payload.address <= start <= stop <= payload.address + payload.size


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
def test_decompressed_bytes_are_counted(compression: str) -> None:
    table = pa.table({"n": pa.array([0] * 1_000, pa.int64())})

    assert decoded(stream_of(table, compression)).copies.by_cause == {CopyCause.DECOMPRESSED: 8_000}


def test_compressed_buffers_stored_as_they_are_are_not_copied() -> None:
    table = pa.table({"n": pa.array([7], pa.int64())})
    payload = stream_of(table, "zstd", use_threads=False)
    result = decoded(payload)

    assert table_of(result).equals(table)
    inside = sum(payload.address <= start < payload.address + payload.size for start, _ in addresses(result))
    assert result.copies.by_cause.get(CopyCause.DECOMPRESSED, 0) == 8 * (len(addresses(result)) - inside)


def test_the_payload_lives_as_long_as_its_batches() -> None:
    class Owner:
        pass

    data = stream_of(EVENTS)
    owner = Owner()
    owner.data = data  # type: ignore[attr-defined]
    gone = weakref.ref(owner)
    result = decoded(pa.foreign_buffer(data.address, data.size, base=owner))
    del owner, data
    gc.collect()
    assert gone() is not None
    assert table_of(result).equals(EVENTS)

    del result
    gc.collect()
    assert gone() is None


def test_several_batches_and_an_empty_one_are_all_read() -> None:
    batch = EVENTS.to_batches()[0]
    table = pa.Table.from_batches([batch, batch.slice(0, 0), batch.slice(1)])
    result = decoded(stream_of(table))

    assert [b.num_rows for b in result.batches] == [3, 0, 2]
    assert result.rows == 5


def test_a_stream_with_a_schema_only_has_no_rows() -> None:
    result = decoded(schema_stream(EVENTS.schema))

    assert (result.rows, result.batches, result.schema) == (0, (), EVENTS.schema)


def test_a_dictionary_sent_again_replaces_the_former() -> None:
    kind = pa.dictionary(pa.int8(), pa.utf8())
    batches = [pa.record_batch([pa.array(values, kind)], ["d"]) for values in (["a", "b"], ["c", None, "b"])]
    payload = stream_of(pa.Table.from_batches(batches))
    assert len(frames_of(payload)) == 5  # schema, dictionary, batch, dictionary, batch

    assert [batch.column(0).to_pylist() for batch in decoded(payload).batches] == [["a", "b"], ["c", None, "b"]]


def test_messages_of_one_schema_share_the_schema_object() -> None:
    first, second = (decoded(stream_of(EVENTS.slice(start))) for start in (0, 1))

    assert first.schema is second.schema


def test_a_batch_may_carry_custom_metadata() -> None:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, EVENTS.schema) as writer:
        writer.write_batch(EVENTS.to_batches()[0], custom_metadata={"trace": "1"})

    assert table_of(decoded(sink.getvalue())).equals(EVENTS)


def test_metadata_version_v4_is_read() -> None:
    payload = stream_of(EVENTS, metadata_version=pa.ipc.MetadataVersion.V4)

    assert table_of(decoded(payload)).equals(EVENTS)


def test_frames_put_together_again_are_the_stream() -> None:
    payload = stream_of(EVENTS)

    assert b"".join(frames_of(payload)) + END_OF_STREAM == payload.to_pybytes()
