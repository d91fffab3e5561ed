"""Contenders (a) and (b): this project's drain, with whichever writer the task's settings name."""

import threading
from collections import Counter
from pathlib import Path

from arrow_ingest.pipeline.drain import drain
from arrow_ingest.values import Point
from benchmarks.measurement import Meter
from benchmarks.settings import pipeline
from benchmarks.task import Task, Work


def run(task: Task, meter: Meter) -> Work:
    """Drain until caught up, capped, or ``options.stop_file`` is there; what counts is what the receipts say."""
    work, stop, causes = Work(), threading.Event(), Counter[str]()

    def begin(point: Point) -> None:
        if point is Point.FETCHED:
            meter.begin()
            if meter.elapsed_seconds > task.cap_seconds:
                stop.set()

    lane, stop_file = int(task.options.get("lane", 0)), task.options.get("stop_file")
    for receipt in drain(pipeline(task), lane=lane, run_id="benchmark", stop=stop, at=begin):
        if stop_file is not None and Path(stop_file).exists():
            stop.set()
        if receipt is None:
            continue
        meter.mark()
        work.rows += receipt.tally.rows
        work.messages += receipt.tally.messages
        work.bytes_received += receipt.bytes_received
        work.commits += 1
        work.files += receipt.files
        work.bytes_on_disk += receipt.bytes_on_disk
        work.bytes_copied += receipt.copies.copied_bytes
        work.bytes_cast += receipt.copies.cast_bytes
        work.commit_seconds.append(round(receipt.commit_seconds, 4))
        work.stage_seconds.append(round(receipt.stage_seconds, 4))
        causes.update(receipt.copies.by_cause)
    work.copies_by_cause.update(causes)
    return work
