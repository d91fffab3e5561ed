"""Writing and reading single records, and waiting for what happens in other threads, for the Kafka room's tests."""

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from confluent_kafka import Producer

from arrow_ingest.config import KafkaConfig
from arrow_ingest.demo.broker import PRODUCER_PROPERTIES
from arrow_ingest.kafka.consumer import Consumer
from arrow_ingest.kafka.message import EndOfPartition, Message
from arrow_ingest.values import Position

MIB = 1024 * 1024
DEADLINE_SECONDS = 20.0


def kafka_config(bootstrap_servers: str, topic: str, properties: Mapping[str, str] | None = None) -> KafkaConfig:
    return KafkaConfig(topic=topic, bootstrap_servers=bootstrap_servers, properties=dict(properties or {}))


def send(kafka: KafkaConfig, *values: bytes | None, partition: int = 0, **record: Any) -> None:
    """Write one record per value; ``record`` takes what `Producer.produce` takes."""
    producer = Producer(
        {
            "bootstrap.servers": kafka.bootstrap_servers,
            "message.max.bytes": 32 * MIB,
            "log_level": 0,
            **PRODUCER_PROPERTIES,
        }
    )
    for value in values:
        producer.produce(kafka.topic, value, partition=partition, **record)
    assert producer.flush(DEADLINE_SECONDS) == 0


def reader(kafka: KafkaConfig, positions: Mapping[int, Position | int], **settings: Any) -> Consumer:
    """A consumer at these positions, or offsets."""
    return Consumer(
        kafka,
        group="arrow-ingest.test",
        positions={p: at if isinstance(at, Position) else Position(at) for p, at in positions.items()},
        **{"max_message_bytes": 16 * MIB, "max_queued_bytes": 32 * MIB, **settings},
    )


def read(
    consumer: Consumer,
    *,
    until: Callable[[list[Message | EndOfPartition]], bool],
    deadline_seconds: float = DEADLINE_SECONDS,
) -> list[Message | EndOfPartition]:
    """Poll until the condition holds over everything that came, or fail."""
    received: list[Message | EndOfPartition] = []
    deadline = time.monotonic() + deadline_seconds
    while not until(received):
        assert time.monotonic() < deadline, f"only {received}"
        received += consumer.poll()
    return received


def read_to_end(consumer: Consumer, partitions: int = 1) -> tuple[list[Message], dict[int, int]]:
    """Everything up to the first end of every partition: the messages, and the ends."""
    received = read(consumer, until=lambda items: len(ends_of(items)) == partitions)
    return [item for item in received if isinstance(item, Message)], ends_of(received)


def ends_of(items: list[Message | EndOfPartition]) -> dict[int, int]:
    return {item.partition: item.offset for item in items if isinstance(item, EndOfPartition)}


def poll_until_error(consumer: Consumer, deadline_seconds: float = DEADLINE_SECONDS) -> None:
    """Poll until something is raised; returns, and so fails a `pytest.raises`, if nothing is."""
    deadline = time.monotonic() + deadline_seconds
    while time.monotonic() < deadline:
        consumer.poll()


def wait_for(condition: Callable[[], bool], deadline_seconds: float = DEADLINE_SECONDS) -> None:
    deadline = time.monotonic() + deadline_seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def librdkafka_threads() -> frozenset[str]:
    """The ids of librdkafka's threads in this process, once none is being ended; Linux names them ``rdk:…``.

    Ids, not a number: those of an earlier test's client may end meanwhile.
    """
    wait_for(lambda: all(thread.name != "librdkafka-destroy" for thread in threading.enumerate()))
    tasks = Path("/proc/self/task").iterdir()
    return frozenset(task.name for task in tasks if _text(task / "comm").startswith("rdk:"))


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # the thread has ended meanwhile
        return ""
