"""Numbers in, a preloaded topic out: the same events as Arrow IPC streams or as JSON."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson
import pyarrow as pa
from confluent_kafka import Producer

from arrow_ingest.config import KafkaConfig
from arrow_ingest.kafka.cluster import Cluster
from arrow_ingest.producer.arrow import ArrowProducer
from arrow_ingest.producer.events import EventGenerator

ROWS_PER_MESSAGE = 1_000
PARTITIONS = 8
MAX_MESSAGE_BYTES = 16 * 1024 * 1024
NOON = datetime(2026, 11, 4, 12, tzinfo=UTC)
"""When the events are of: the same ones on every day that this is run."""

Batches = Callable[[int, int], pa.RecordBatch]
"""The rows of message ``index``, so many of them; `EventGenerator.batch` is one."""


@dataclass(frozen=True, slots=True)
class Topic:
    """What was preloaded; ``size_bytes`` are payload bytes."""

    name: str
    partitions: int
    messages: int
    rows: int
    size_bytes: int


def events(days: int = 1) -> Batches:
    """PostHog-shaped events, 1.1 KB a row."""
    return EventGenerator(1, now=NOON, days=days).batch


def event_batches(count: int) -> Iterator[pa.RecordBatch]:
    """The first batches that a topic of events holds."""
    batch = events()
    return (batch(index, ROWS_PER_MESSAGE) for index in range(count))


def make_topic(bootstrap_servers: str, name: str, partitions: int) -> None:
    """An empty topic that takes messages of `MAX_MESSAGE_BYTES`."""
    with Cluster(KafkaConfig(topic=name, bootstrap_servers=bootstrap_servers)) as cluster:
        cluster.create_topic(partitions, {"max.message.bytes": str(MAX_MESSAGE_BYTES)})


def preload_arrow(
    bootstrap_servers: str,
    name: str,
    batches: Batches,
    *,
    rows: int,
    rows_per_message: int = ROWS_PER_MESSAGE,
    partitions: int = PARTITIONS,
    distinct: int | None = None,
) -> Topic:
    """Each batch one Arrow IPC stream in one message, round robin over the partitions.

    Args:
        distinct: only so many different messages, sent over and over again: for backlogs that take long to make up.
    """
    make_topic(bootstrap_servers, name, partitions)
    messages = rows // rows_per_message
    made: list[pa.Buffer] = []
    with ArrowProducer(name, {"bootstrap.servers": bootstrap_servers}) as producer:
        for index in range(messages):
            if distinct is None or len(made) < distinct:
                payload = stream(batches(index, rows_per_message))
                if distinct is not None:
                    made.append(payload)
            else:
                payload = made[index % distinct]
            producer.send_payload(payload, rows=rows_per_message, partition=index % partitions)
    sent = producer.acknowledged
    return Topic(name, partitions, sent.messages, sent.rows, sent.bytes)


def preload_json(bootstrap_servers: str, name: str, *, rows: int) -> Topic:
    """Each event one JSON object in one message, in batches as librdkafka makes them; the same events as Arrow's."""
    make_topic(bootstrap_servers, name, PARTITIONS)
    producer = Producer(
        {
            "bootstrap.servers": bootstrap_servers,
            "enable.idempotence": True,
            "linger.ms": 20,
            "queue.buffering.max.kbytes": 256 * 1024,
        }
    )
    sent = size = 0
    for batch in event_batches(rows // ROWS_PER_MESSAGE):
        for event in batch.to_pylist():
            value = orjson.dumps(event)
            _produce(producer, name, value, sent % PARTITIONS)
            sent += 1
            size += len(value)
    if left := producer.flush(60):
        raise TimeoutError(f"{left} messages were not acknowledged")
    return Topic(name, PARTITIONS, sent, sent, size)


def _produce(producer: Producer, topic: str, value: bytes, partition: int) -> None:
    while True:
        try:
            producer.produce(topic, value, partition=partition)
        except BufferError:
            producer.poll(0.1)
        else:
            return


def stream(batch: pa.RecordBatch) -> pa.Buffer:
    """One complete IPC stream, uncompressed."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue()
