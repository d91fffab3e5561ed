"""A steady stream in, the time from `produce` to "a query sees it" out, for one flush age after the other."""

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from arrow_ingest.config import LakeConfig
from arrow_ingest.errors import CatalogUnavailable
from arrow_ingest.lake import ledger
from arrow_ingest.lake.ledger import LedgerEntry
from arrow_ingest.lake.session import open_lake
from arrow_ingest.producer.arrow import ArrowProducer
from benchmarks.brokers import RunningBroker
from benchmarks.runs import Measured, measured
from benchmarks.settings import pipeline
from benchmarks.task import Task
from benchmarks.topics import PARTITIONS, ROWS_PER_MESSAGE, events, make_topic, stream

MESSAGES_PER_SECOND = 10
LOOK_SECONDS = 0.1
"""How often the reader asks; its answer may be that late, and counts so."""

MAX_SECONDS = 600.0
"""When a drain that nobody ends gives up."""

POOL = 50
"""Different messages, made before the clock starts."""


@dataclass(slots=True)
class Watched:
    """When each message was produced, and when each commit was first seen; `time.monotonic` seconds."""

    produced: dict[tuple[int, int], float] = field(default_factory=dict)
    seen: list[tuple[float, LedgerEntry]] = field(default_factory=list)


def run(broker: RunningBroker, folder: Path, *, age_seconds: float, steady_seconds: float) -> dict[str, Any]:
    """Drain a stream of 10,000 rows/s with one flush age; what is produced before the first commit counts as start."""
    topic = f"bench-latency-{age_seconds:g}"
    make_topic(broker.bootstrap_servers, topic, PARTITIONS)
    stop_file = folder / "stop"
    task = Task(
        contender="ours",
        bootstrap_servers=broker.bootstrap_servers,
        topic=topic,
        messages=0,
        rows=0,
        folder=str(folder),
        settings={
            "flush": {"max_age_seconds": age_seconds},
            "run": {"until": "deadline", "max_run_seconds": MAX_SECONDS, "linger_seconds": MAX_SECONDS},
        },
        options={"stop_file": str(stop_file)},
    )
    watched, stop = Watched(), threading.Event()
    producer = threading.Thread(target=_produce, args=(broker, topic, watched, stop), daemon=True)
    reader = threading.Thread(target=_look, args=(pipeline(task).lake, watched, stop), daemon=True)
    until = threading.Thread(target=_end, args=(stop_file, watched, steady_seconds + age_seconds), daemon=True)
    for thread in (producer, reader, until):
        thread.start()
    try:
        made = measured(task, broker.pids)
    finally:
        stop.set()
        producer.join()
        reader.join()
    return _document(age_seconds, watched, made)


def _produce(broker: RunningBroker, topic: str, watched: Watched, stop: threading.Event) -> None:
    """Send at a fixed pace; offsets are counted, since nobody else writes to the topic."""
    batch = events()
    payloads = [stream(batch(index, ROWS_PER_MESSAGE)) for index in range(POOL)]
    began = time.monotonic()
    with ArrowProducer(topic, {"bootstrap.servers": broker.bootstrap_servers, "linger.ms": 0}) as producer:
        number = 0
        while not stop.is_set():
            partition, offset = number % PARTITIONS, number // PARTITIONS
            watched.produced[partition, offset] = time.monotonic()
            producer.send_payload(payloads[number % POOL], rows=ROWS_PER_MESSAGE, partition=partition)
            number += 1
            while (left := began + number / MESSAGES_PER_SECOND - time.monotonic()) > 0:
                producer.poll(left)  # comes back early with a delivery report


def _end(stop_file: Path, watched: Watched, seconds: float) -> None:
    """Have the drain end so long after its first commit was seen, however long it took to start."""
    while not watched.seen:
        time.sleep(LOOK_SECONDS)
    time.sleep(seconds)
    stop_file.touch()


def _look(lake_config: LakeConfig, watched: Watched, stop: threading.Event) -> None:
    """Ask the ledger, which is in the same snapshot as the rows, over and over on a session that only reads."""
    lake, last = None, 0
    while not stop.wait(LOOK_SECONDS):
        try:
            lake = lake or open_lake(lake_config, read_only=True)
            found = ledger.commits_since(lake, "events_arrow", last)
        except CatalogUnavailable:
            continue  # the lake is not made yet, or gone with the end of the run
        now = time.monotonic()
        watched.seen += [(now, entry) for entry in found]
        last = max([last, *(entry.snapshot_id for entry in found)])
    if lake is not None:
        lake.close()


def _document(age_seconds: float, watched: Watched, made: Measured) -> dict[str, Any]:
    steady_from = watched.seen[0][0]
    delays: list[float] = []
    for at, entry in watched.seen:
        for part in entry.ranges:
            sent = (watched.produced[part.partition, offset] for offset in range(part.start, part.stop))
            delays += [at - when for when in sent if when >= steady_from]
    steady = [(at, entry) for at, entry in watched.seen if at > steady_from]
    minutes = (steady[-1][0] - steady_from) / 60
    files = sum(added.files for _, entry in steady for added in entry.touched)
    return {
        "flush_age_s": age_seconds,
        "messages": len(delays),
        "p50_s": round(median(delays), 3),
        "p99_s": round(quantiles(delays, n=100)[98], 3),
        "max_s": round(max(delays), 3),
        "files_per_minute": round(files / minutes, 1),
        "commits_per_minute": round(len(steady) / minutes, 1),
        "cpu_share": round(made.cost.cpu_seconds / made.cost.seconds, 3),
        "peak_rss_mib": round(made.cost.peak_rss_mib),
    }


def summary(ages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The target is about the shortest flush age."""
    return {"p50_s": ages[0]["p50_s"], "p99_s": ages[0]["p99_s"], "flush_ages": ages}
