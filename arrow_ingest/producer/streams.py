"""A table in, Arrow IPC streams of bounded size out: one stream is one message."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from arrow_ingest.errors import RowTooLarge

Compression = Literal["lz4", "zstd"]


@dataclass(frozen=True, slots=True)
class Stream:
    """One complete IPC stream, end-of-stream marker included, and how many rows it holds."""

    payload: pa.Buffer
    rows: int


def streams(table: pa.Table, *, compression: Compression | None, max_bytes: int) -> Iterator[Stream]:
    """The rows of ``table`` in order, in as many streams of at most ``max_bytes`` as that takes; at least one.

    Rows are cut into equal parts by their size before compression, so that what a message expands to is bounded too.

    Raises:
        RowTooLarge: a single row does not fit.
    """
    # Otherwise each chunk brings a dictionary of its own, and a reader's limit counts them.
    table = table.unify_dictionaries()
    yield from _parts(table, 0, pa.ipc.IpcWriteOptions(compression=compression), max_bytes)


def _parts(table: pa.Table, first_row: int, options: pa.ipc.IpcWriteOptions, max_bytes: int) -> Iterator[Stream]:
    size = table.nbytes
    if size <= max_bytes or table.num_rows <= 1:
        payload = _encoded(table, options)
        size = payload.size
        if size <= max_bytes:
            yield Stream(payload, table.num_rows)
            return
    if table.num_rows <= 1:
        raise RowTooLarge(first_row, size, max_bytes)
    count = part_rows(table.num_rows, size, max_bytes)
    for start in range(0, table.num_rows, count):
        yield from _parts(table.slice(start, count), first_row + start, options, max_bytes)


def part_rows(rows: int, size: int, max_bytes: int) -> int:
    """Rows of one part when ``rows`` rows of ``size`` bytes are too large; fewer than ``rows``.

    >>> part_rows(1_000, size=25_000, max_bytes=10_000)
    334
    >>> part_rows(2, size=10_001, max_bytes=10_000)
    1
    """
    parts = min(rows, max(2, -(-size // max_bytes)))
    return -(-rows // parts)


def _encoded(table: pa.Table, options: pa.ipc.IpcWriteOptions) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    return sink.getvalue()
