"""The demo's producer: generated events on a thread of its own, at a rate, until it is told to stop."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from arrow_ingest.config import KafkaConfig
from arrow_ingest.producer.arrow import Acknowledged, ArrowProducer
from arrow_ingest.producer.produce import BatchSource, produce_events


@dataclass(slots=True)
class Production:
    """How far the producer has come. ``is_over``: all batches are acknowledged, or it failed."""

    acknowledged: Acknowledged = field(default_factory=Acknowledged)
    is_over: bool = False
    failure: Exception | None = None


@contextmanager
def producing(
    kafka: KafkaConfig, generator: BatchSource, *, batches: int | None, rows: int, batches_per_second: float
) -> Iterator[Production]:
    """Produce while the block runs; leaving it stops the producer after the batch in hand and flushes it."""
    production, stop = Production(), threading.Event()

    def work() -> None:
        try:
            with ArrowProducer(kafka.topic, {"bootstrap.servers": kafka.bootstrap_servers}) as producer:
                for acknowledged in produce_events(
                    producer, generator, batches=batches, rows=rows, batches_per_second=batches_per_second
                ):
                    production.acknowledged = acknowledged
                    if stop.is_set():
                        break
            production.acknowledged = producer.acknowledged
        except Exception as failure:  # noqa: BLE001 - whatever it is, the demo's main thread raises it
            production.failure = failure
        finally:
            production.is_over = True

    thread = threading.Thread(target=work, name="produce", daemon=True)
    thread.start()
    try:
        yield production
    finally:
        stop.set()
        thread.join(timeout=30)
