"""Contender (c): the proof of concept's loop. One message, one INSERT, one snapshot, one synchronous group commit."""

from pathlib import Path

import pyarrow as pa

from benchmarks.contenders.duck import new_lake, size_on_disk
from benchmarks.contenders.group_reader import batches, group_consumer
from benchmarks.measurement import Meter
from benchmarks.task import Task, Work


def run(task: Task, meter: Meter) -> Work:
    """With ``options.commit`` false, the group's offsets are never committed."""
    work = Work()
    folder = Path(task.folder)
    lake = new_lake(folder)
    consumer = group_consumer(task)
    try:
        for (message,) in batches(consumer, task.messages, most=1):
            meter.begin()
            payload = message.value() or b""
            rows = pa.ipc.open_stream(payload).read_all()
            lake.register("arrived", rows)
            lake.execute("INSERT INTO lake.events SELECT * FROM arrived")  # commits by itself
            lake.unregister("arrived")
            if task.options.get("commit", True):
                consumer.commit(message=message, asynchronous=False)
            meter.mark()
            work.rows += rows.num_rows
            work.messages += 1
            work.commits += 1
            work.bytes_received += len(payload)
            if meter.elapsed_seconds > task.cap_seconds:
                break
    finally:
        consumer.close()
        lake.close()
    work.files, work.bytes_on_disk = size_on_disk(folder)
    return work
