"""Ranges of offsets in, their messages out: what the log still holds of what was read before. No lane is touched."""

import threading
from collections.abc import Iterator, Mapping

from arrow_ingest.config import PipelineConfig
from arrow_ingest.errors import Stopped
from arrow_ingest.kafka.consumer import Consumer
from arrow_ingest.kafka.message import Message
from arrow_ingest.values import Position

POLL_SECONDS = 0.1


def messages_in(
    config: PipelineConfig, ranges: Mapping[int, tuple[int, int]], stop: threading.Event
) -> Iterator[Message]:
    """The messages of one range ``[start, stop)`` per Kafka partition, each partition's in their order.

    Raises:
        LaneSuspended: a range is no longer in the log, or a record is corrupt.
        Stopped: ``stop`` was set.
        BrokerUnavailable, TopicMissing, ConsumerStalled: try again later.
    """
    left = {partition: end for partition, (_, end) in ranges.items()}
    with Consumer(
        config.kafka,
        group=config.group,
        positions={partition: Position(start) for partition, (start, _) in ranges.items()},
        max_message_bytes=config.limits.max_message_bytes,
        max_queued_bytes=config.kafka.max_queued_bytes,
    ) as consumer:
        while left:
            if stop.is_set():
                raise Stopped("asked to end while reading the log; nothing was changed")
            for event in consumer.poll(timeout_seconds=POLL_SECONDS):
                end = left.get(event.partition)
                if end is None:
                    continue
                next_offset = event.offset
                if isinstance(event, Message):
                    next_offset += 1
                    if event.offset < end:
                        yield event
                if next_offset >= end:
                    del left[event.partition]
