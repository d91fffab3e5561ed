"""A topic in, the partitions that do not let themselves be read out: what a run would meet, without a run."""

import time

from arrow_ingest.config import KafkaConfig
from arrow_ingest.kafka.consumer import Consumer
from arrow_ingest.values import Position, TopicState


def silent_partitions(
    kafka: KafkaConfig, topic: TopicState, *, group: str, max_message_bytes: int, timeout_seconds: float
) -> tuple[int, ...]:
    """Read the last record, or the end, of every partition; those from which neither came in time, ascending.

    Raises:
        ConfigError: the broker refuses the login, TLS or the topic.
        LaneSuspended: a last record is corrupt.
        BrokerUnavailable, TopicMissing: since the topic was asked for.
    """
    silent = set(topic.partitions)
    positions = {partition: Position(max(topic.low[partition], topic.high[partition] - 1)) for partition in silent}
    deadline = time.monotonic() + timeout_seconds
    with Consumer(
        kafka,
        group=group,
        positions=positions,
        max_message_bytes=max_message_bytes,
        max_queued_bytes=max_message_bytes,
        unavailable_seconds=timeout_seconds,
    ) as consumer:
        while silent and time.monotonic() < deadline:
            silent.difference_update(event.partition for event in consumer.poll())
    return tuple(sorted(silent))
