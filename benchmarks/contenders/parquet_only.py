"""Limit (f): Parquet writing from memory, with the pipeline's settings and threads; no Kafka, no catalog, no fsync."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from arrow_ingest.config import Parquet, PipelineConfig
from arrow_ingest.lake.conform import Stamp
from arrow_ingest.lake.row_groups import compression_options
from arrow_ingest.lake.schema import plan_for
from arrow_ingest.pipeline.allocator import keep_freed_memory
from arrow_ingest.pipeline.rows import rows_of
from arrow_ingest.producer.streams import streams
from arrow_ingest.values import Rejection
from benchmarks.contenders.duck import size_on_disk
from benchmarks.measurement import Meter
from benchmarks.settings import pipeline
from benchmarks.task import Task, Work
from benchmarks.topics import event_batches

MESSAGES_IN_MEMORY = 200
"""What is written over and over again."""


@dataclass(frozen=True, slots=True)
class _Group:
    """The rows of one row group and the payload bytes that they came in."""

    rows: pa.Table
    payload_bytes: int
    messages: int


def run(task: Task, meter: Meter) -> Work:
    """Write as many messages' rows as the topic holds, each thread into files of its own."""
    config = pipeline(task)
    groups = _groups(config)
    keep_freed_memory()  # as a drain does
    work = Work()
    turn = threading.Lock()
    numbers = count()

    def taken() -> Iterator[_Group]:
        """Groups until all messages are taken; each is taken once."""
        while True:
            with turn:
                if work.messages >= task.messages or meter.elapsed_seconds > task.cap_seconds:
                    return
                group = groups[next(numbers) % len(groups)]
                work.messages += group.messages
                work.rows += group.rows.num_rows
                work.bytes_received += group.payload_bytes
            yield group

    folder = Path(task.folder)
    folder.mkdir(parents=True, exist_ok=True)
    names = count()
    meter.begin()
    threads = config.parquet.threads
    with ThreadPoolExecutor(threads) as pool:
        per_file = config.flush.max_bytes // threads
        written = [pool.submit(_write, taken(), folder, names, config.parquet, per_file) for _ in range(threads)]
        for each in written:
            each.result()
    meter.mark()
    work.files, work.bytes_on_disk = size_on_disk(folder)
    return work


def _write(groups: Iterator[_Group], folder: Path, names: Iterator[int], parquet: Parquet, per_file: int) -> None:
    """Files of about ``per_file`` payload bytes each."""
    for first in groups:
        path = folder / f"{next(names)}.parquet"
        with pq.ParquetWriter(path, first.rows.schema, **compression_options(parquet)) as writer:
            size, group = 0, first
            while True:
                writer.write_table(group.rows, row_group_size=group.rows.num_rows)
                size += group.payload_bytes
                following = next(groups, None) if size < per_file else None
                if following is None:
                    break
                group = following


def _groups(config: PipelineConfig) -> list[_Group]:
    """Row groups as the drain would collect them, conformed to the table."""
    plan = plan_for(config, None)
    groups: list[_Group] = []
    collected: list[pa.RecordBatch] = []
    size, payload_bytes, messages = 0, 0, 0
    for offset, batch in enumerate(event_batches(MESSAGES_IN_MEMORY)):
        (stream,) = streams(pa.Table.from_batches([batch]), compression=None, max_bytes=config.limits.max_message_bytes)
        made = rows_of(stream.payload, config, plan, Stamp(0, 0, offset, 0, datetime.now(UTC)))
        if isinstance(made, Rejection):
            raise TypeError(made.detail)
        plan = made.plan
        rows = [piece.rows for piece in made.slices]
        added = sum(each.nbytes for each in rows)
        if collected and size + added > config.parquet.row_group_bytes:
            groups.append(_Group(pa.Table.from_batches(collected), payload_bytes, messages))
            collected, size, payload_bytes, messages = [], 0, 0, 0
        collected += rows
        size += added
        payload_bytes += stream.payload.size
        messages += 1
    return [*groups, _Group(pa.Table.from_batches(collected), payload_bytes, messages)]
