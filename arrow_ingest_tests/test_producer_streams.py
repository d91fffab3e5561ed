"""Tables as IPC streams: every row once, in order, and no stream larger than allowed."""

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arrow_ingest.errors import RowTooLarge
from arrow_ingest.producer.streams import Stream, streams


def read(made: list[Stream]) -> pa.Table:
    return pa.concat_tables([pa.ipc.open_stream(stream.payload).read_all() for stream in made])


@settings(deadline=None, max_examples=60)
@given(
    texts=st.lists(st.text(max_size=300), max_size=60),
    chunk_rows=st.integers(1, 60),
    max_bytes=st.integers(4_000, 20_000),
    compression=st.sampled_from([None, "lz4", "zstd"]),
)
def test_cut_streams_hold_the_rows_in_order_within_the_limit(texts, chunk_rows, max_bytes, compression):
    table = pa.table({"text": pa.array(texts, pa.string()), "number": pa.array(range(len(texts)), pa.int64())})
    chunked = pa.concat_tables(table.slice(at, chunk_rows) for at in range(0, max(1, len(texts)), chunk_rows))

    made = list(streams(chunked, compression=compression, max_bytes=max_bytes))

    assert read(made).combine_chunks().equals(table.combine_chunks())
    assert [stream.rows for stream in made] == [pa.ipc.open_stream(s.payload).read_all().num_rows for s in made]
    assert all(stream.payload.size <= max_bytes for stream in made)


def test_a_table_without_rows_is_one_stream_with_the_schema():
    schema = pa.schema([("n", pa.int64())])

    (made,) = streams(schema.empty_table(), compression=None, max_bytes=10_000)

    assert pa.ipc.open_stream(made.payload).schema == schema
    assert made.rows == 0


def test_a_row_that_cannot_fit_is_named():
    table = pa.table({"text": ["a", "b", "c" * 50_000, "d"]})

    with pytest.raises(RowTooLarge) as caught:
        list(streams(table, compression=None, max_bytes=10_000))

    assert caught.value.row == 2
    assert caught.value.size_bytes > 50_000


def test_a_row_that_fits_compressed_is_let_through():
    table = pa.table({"text": ["c" * 50_000]})

    (made,) = streams(table, compression="zstd", max_bytes=10_000)

    assert read([made]).equals(table)


def test_chunks_with_dictionaries_of_their_own_share_one():
    chunks = [pa.array(values).dictionary_encode() for values in (["a", "b"], ["c", "a"])]
    table = pa.table({"word": pa.chunked_array(chunks)})

    (made,) = streams(table, compression=None, max_bytes=10_000)

    reader = pa.ipc.open_stream(made.payload)
    assert reader.read_all()["word"].to_pylist() == ["a", "b", "c", "a"]
    assert reader.stats.num_dictionary_batches == 1
