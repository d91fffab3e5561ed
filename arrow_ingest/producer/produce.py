"""Generated events to a topic at a rate, with the broker's acknowledgements on the way."""

from collections.abc import Iterator
from itertools import count
from typing import Protocol

import pyarrow as pa

from arrow_ingest.producer.arrow import Acknowledged, ArrowProducer
from arrow_ingest.producer.rate import Rate, paced


class BatchSource(Protocol):
    """Generated batches: `EventGenerator`, `OrderGenerator`."""

    def batch(self, index: int, rows: int = 1_000) -> pa.RecordBatch:
        """Batch ``index``, of exactly ``rows`` rows; the same one every time."""
        ...


def produce_events(
    producer: ArrowProducer,
    generator: BatchSource,
    *,
    batches: int | None,
    rows: int = 1_000,
    batches_per_second: float = 10.0,
    first: int = 0,
) -> Iterator[Acknowledged]:
    """Send batches ``first``, ``first + 1``, …; yields what is acknowledged after each, and once more after the last.

    The last value counts everything. Whoever stops iterating before it leaves the rest to the producer's own end.

    Args:
        producer: where to; stays open.
        generator: what.
        batches: how many; None goes on for ever.
        rows: rows of one batch.
        batches_per_second: 0 means as fast as possible.
        first: number of the first batch, to go on where an earlier run stopped.

    Raises:
        DeliveryFailed: a message could not be delivered.
    """
    indices = count(first) if batches is None else iter(range(first, first + batches))
    # Waits between batches are spent on taking delivery reports.
    for index in paced(indices, Rate(batches_per_second), sleep=producer.poll):
        producer.send(generator.batch(index, rows))
        yield producer.acknowledged
    producer.flush()
    yield producer.acknowledged
