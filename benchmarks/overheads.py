"""Messages in, what each step of the defence costs per megabyte, and what is copied and why, out."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from confluent_kafka import Consumer, TopicPartition

from arrow_ingest.config import PipelineConfig
from arrow_ingest.ipc.body import claim_of
from arrow_ingest.ipc.framing import split as split_frames
from arrow_ingest.ipc.schema import plan_of
from arrow_ingest.lake.conform import Stamp, conform
from arrow_ingest.lake.partition import split
from arrow_ingest.lake.schema import TablePlan, plan_for
from arrow_ingest.pipeline.rows import rows_of
from arrow_ingest.producer.streams import Compression, streams
from arrow_ingest.values import Rejection
from benchmarks.brokers import RunningBroker
from benchmarks.settings import pipeline
from benchmarks.task import Task
from benchmarks.topics import ROWS_PER_MESSAGE, Topic, events

MESSAGES = 100
ROUNDS = 3


def run() -> dict[str, Any]:
    """Both tables. CPU of one thread, the smallest of several rounds: what the step takes where nobody disturbs it."""
    config = pipeline(Task("ours", "127.0.0.1:1", "none", 0, 0, "/nonexistent"))
    return {"defence_ms_per_mb": _defences(config), "copied_per_byte": _copies(config)}


def crc_ms_per_mb(broker: RunningBroker, topic: Topic) -> float:
    """What checking the broker's checksums costs: the same consumer with and without, CPU of this process."""
    costs = {check: min(_drained_cpu(broker, topic, check) for _ in range(ROUNDS)) for check in (True, False)}
    return round((costs[True] - costs[False]) * 1000 / (topic.size_bytes / 1e6), 4)


def _drained_cpu(broker: RunningBroker, topic: Topic, check_crcs: bool) -> float:  # noqa: FBT001
    consumer = Consumer(
        {
            "bootstrap.servers": broker.bootstrap_servers,
            "group.id": "benchmark.crc",
            "enable.auto.commit": False,
            "check.crcs": check_crcs,
            "fetch.queue.backoff.ms": 5,
        }
    )
    began = time.process_time()
    consumer.assign([TopicPartition(topic.name, partition, 0) for partition in range(topic.partitions)])
    seen = 0
    while seen < topic.messages:
        seen += len(consumer.consume(num_messages=min(100, topic.messages - seen), timeout=10))
    consumer.close()
    return time.process_time() - began


def _defences(config: PipelineConfig) -> dict[str, float]:
    payloads = _payloads(days=1, compression=None)
    size_mb = sum(payload.size for payload in payloads) / 1e6
    limits, stamp = config.limits, Stamp(0, 0, 0, 0, datetime.now(UTC))
    plan = _extended(config)

    def inspected(payload: pa.Buffer) -> None:
        view = memoryview(payload)
        first, *frames = split_frames(view, limits)
        claim_of(view, frames, plan_of(bytes(view[first.start : first.stop]), limits).layout, limits)

    batches = [pa.ipc.open_stream(payload).read_next_batch() for payload in payloads]
    conformed = [conform(batch, plan, stamp, first_row=0) for batch in batches]
    rows = [made.batch for made in conformed if not isinstance(made, Rejection)]
    steps: Mapping[str, tuple[Callable[[Any], object], Sequence[Any]]] = {
        "framing, claims, types": (inspected, payloads),
        "read": (lambda payload: pa.ipc.open_stream(payload).read_next_batch(), payloads),
        "full validation": (lambda batch: batch.validate(full=True), batches),
        "conform, with one cast": (lambda batch: conform(batch, plan, stamp, first_row=0), batches),
        "split by day": (lambda batch: split([batch], config.partition_by, limits), rows),
        "all, as the drain does": (lambda payload: rows_of(payload, config, plan, stamp), payloads),
    }
    return {name: round(_cpu_ms(step, items) / size_mb, 4) for name, (step, items) in steps.items()}


def _copies(config: PipelineConfig) -> dict[str, dict[str, float]]:
    """Bytes copied per byte received, by cause."""
    cases: Mapping[str, Sequence[pa.Buffer]] = {
        "uncompressed, one day": _payloads(days=1, compression=None),
        "uncompressed, 30 days": _payloads(days=30, compression=None),
        "zstd bodies, one day": _payloads(days=1, compression="zstd"),
        "lz4 bodies, one day": _payloads(days=1, compression="lz4"),
        "dictionary columns": _payloads(days=1, compression=None, dictionaries=True),
    }
    return {name: _copied_per_byte(config, payloads) for name, payloads in cases.items()}


def _copied_per_byte(config: PipelineConfig, payloads: Sequence[pa.Buffer]) -> dict[str, float]:
    causes: Counter[str] = Counter()
    plan = plan_for(config, None)
    for offset, payload in enumerate(payloads):
        made = rows_of(payload, config, plan, Stamp(0, 0, offset, 0, datetime.now(UTC)))
        if isinstance(made, Rejection):
            raise TypeError(made.detail)
        plan = made.plan
        causes.update(made.copies.by_cause)
    received = sum(payload.size for payload in payloads)
    return {str(cause): round(size / received, 4) for cause, size in sorted(causes.items())}


def _payloads(*, days: int, compression: Compression | None, dictionaries: bool = False) -> list[pa.Buffer]:
    batch = events(days)
    made: list[pa.Buffer] = []
    for index in range(MESSAGES):
        table = pa.Table.from_batches([batch(index, ROWS_PER_MESSAGE)])
        if dictionaries:
            at = table.schema.get_field_index("event")
            table = table.set_column(at, "event", table.column(at).dictionary_encode())
        made += [stream.payload for stream in streams(table, compression=compression, max_bytes=16 * 1024 * 1024)]
    return made


def _extended(config: PipelineConfig) -> TablePlan:
    extended = plan_for(config, None).extend(events()(0, 1).schema)
    if isinstance(extended, Rejection):
        raise TypeError(extended.detail)
    return extended


def _cpu_ms(step: Callable[[Any], object], items: Sequence[Any]) -> float:
    rounds: list[float] = []
    for _ in range(ROUNDS):
        began = time.thread_time()
        for item in items:
            step(item)
        rounds.append((time.thread_time() - began) * 1000)
    return min(rounds)
