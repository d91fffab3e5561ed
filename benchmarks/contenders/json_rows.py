"""Contender (d): JSON on the wire, one event a message: orjson to pyarrow to INSERT, a batch of events at a time."""

from pathlib import Path

import orjson
import pyarrow as pa

from arrow_ingest.producer.events import EVENT_SCHEMA
from benchmarks.contenders.duck import new_lake, size_on_disk
from benchmarks.contenders.group_reader import batches, group_consumer
from benchmarks.measurement import Meter
from benchmarks.task import Task, Work

ROWS_PER_INSERT = 50_000
"""About 60 MB of JSON; 20,000 and 100,000 are no faster."""

MESSAGES_PER_CALL = 10_000


def run(task: Task, meter: Meter) -> Work:
    """Collect events, insert them, commit the group's offsets behind them."""
    work = Work()
    folder = Path(task.folder)
    lake = new_lake(folder)
    consumer = group_consumer(task)
    collected: list[bytes] = []
    size = 0
    try:
        for received in batches(consumer, task.messages, most=MESSAGES_PER_CALL):
            meter.begin()
            values = [message.value() or b"" for message in received]
            collected += values
            size += sum(map(len, values))
            is_last = work.messages + len(collected) == task.messages
            is_over = meter.elapsed_seconds > task.cap_seconds
            if len(collected) < ROWS_PER_INSERT and not is_last and not is_over:
                continue
            rows = pa.Table.from_pylist([orjson.loads(value) for value in collected], EVENT_SCHEMA)
            lake.register("arrived", rows)
            lake.execute("INSERT INTO lake.events SELECT * FROM arrived")
            lake.unregister("arrived")
            consumer.commit(asynchronous=False)
            meter.mark()
            work.rows += rows.num_rows
            work.messages += len(collected)
            work.commits += 1
            work.bytes_received += size
            collected, size = [], 0
            if is_over:
                break
    finally:
        consumer.close()
        lake.close()
    work.files, work.bytes_on_disk = size_on_disk(folder)
    return work
