"""Payloads for the tests: Arrow IPC streams as pyarrow writes them, whole, in frames, or at any address."""

from itertools import pairwise
from typing import Any

import pyarrow as pa

CONTINUATION = b"\xff\xff\xff\xff"
END_OF_STREAM = CONTINUATION + bytes(4)


def stream_of(data: pa.Table | pa.RecordBatch, compression: str | None = None, **options: Any) -> pa.Buffer:
    """An Arrow IPC stream of a table or a batch; `options` are those of `pyarrow.ipc.IpcWriteOptions`."""
    sink = pa.BufferOutputStream()
    write_options = pa.ipc.IpcWriteOptions(compression=compression, **options)
    with pa.ipc.new_stream(sink, data.schema, options=write_options) as writer:
        writer.write(data)
    return sink.getvalue()


def schema_stream(schema: pa.Schema) -> pa.Buffer:
    """An Arrow IPC stream that ends after its schema."""
    sink = pa.BufferOutputStream()
    pa.ipc.new_stream(sink, schema).close()
    return sink.getvalue()


def frames_of(stream: pa.Buffer) -> list[bytes]:
    """The stream's frames (prefix, metadata, body) without the end-of-stream marker."""
    reader = pa.BufferReader(stream)
    edges = [0, *(reader.tell() for _ in pa.ipc.MessageReader.open_stream(reader))]
    return [stream.slice(start, stop - start).to_pybytes() for start, stop in pairwise(edges)]


def misaligned(data: pa.Buffer, offset: int) -> pa.Buffer:
    """The same bytes at an address that is `offset` more than a multiple of 8."""
    room = bytearray(data.size + 8)
    shared = pa.py_buffer(room)
    start = (offset - shared.address) % 8
    room[start : start + data.size] = data.to_pybytes()
    return shared.slice(start, data.size)
