"""Positions in, messages and ends of partitions out: the records of one lane without a copy."""

import time
from collections import deque
from collections.abc import Mapping, Sequence
from ctypes import c_void_p, string_at
from types import TracebackType
from typing import Self, cast

from arrow_ingest.config import KafkaConfig
from arrow_ingest.errors import ArrowIngestError, ConsumerStalled
from arrow_ingest.kafka.faults import LOST_OFFSET, SETTINGS_TO_BLAME, Fault, partition_error, topic_error, unreachable
from arrow_ingest.kafka.handle import Handle
from arrow_ingest.kafka.librdkafka import Code, RawMessage, load
from arrow_ingest.kafka.message import EndOfPartition, Message, MessageReader
from arrow_ingest.kafka.properties import consumer_properties, masked
from arrow_ingest.kafka.watchdog import Watchdog
from arrow_ingest.values import Position

ASK_SECONDS = 2.0
"""How long `Consumer.poll` may wait beyond its timeout when it doubts that a partition or broker lives, and asks."""


class Consumer:
    """Reads fixed partitions from explicit positions. No subscription, no rebalance, no commit.

    Not for several threads at once; the messages may go to any thread and outlive the consumer.

    Args:
        group: the consumer group's name in the broker's logs; nothing is ever committed to it.
        positions: where to read next, per partition.
        max_message_bytes: the size that a message should not pass; larger ones arrive, up to four times this.
        max_queued_bytes: payload bytes fetched ahead of `poll`. Messages that `poll` returned no longer count.
        stall_seconds: see `Watchdog`.
        unavailable_seconds: how long all brokers may be gone before `poll` raises; restarts within it go unnoticed.

    Raises:
        ConfigError: librdkafka refuses a property.
        MissingPart: librdkafka cannot be called.
    """

    def __init__(
        self,
        kafka: KafkaConfig,
        *,
        group: str,
        positions: Mapping[int, Position],
        max_message_bytes: int,
        max_queued_bytes: int,
        stall_seconds: float = 60.0,
        unavailable_seconds: float = 30.0,
    ) -> None:
        self._kafka = kafka
        self._properties = consumer_properties(
            kafka, group=group, max_message_bytes=max_message_bytes, max_queued_bytes=max_queued_bytes
        )
        self._unavailable_seconds = unavailable_seconds
        self._offsets = {partition: position.offset for partition, position in positions.items()}
        self._watchdog = Watchdog(stall_seconds, self._offsets)
        self._faults: deque[Fault] = deque(maxlen=16)
        self._unseen_since: float | None = 0.0
        self._failure: ArrowIngestError | None = None
        self._is_paused = False
        self._pointers = (c_void_p * 1000)()
        self._handle: Handle | None = Handle(self._properties)
        self._reader: MessageReader | None = MessageReader(self._handle)
        self._handle.assign(kafka.topic, positions)
        self._looked_at = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Consumer(topic={self._kafka.topic!r}, offsets={self._offsets}, properties={masked(self._properties)})"

    def poll(self, *, max_messages: int = 1000, timeout_seconds: float = 0.1) -> list[Message | EndOfPartition]:
        """What has arrived, at most ``max_messages``, in the order of each partition; empty after the timeout.

        While paused, it waits out the timeout and returns nothing.

        Raises:
            LaneSuspended: a corrupt record, or a position that the log no longer holds. All before it was returned.
            TopicMissing: the topic was deleted.
            BrokerUnavailable: no broker for ``unavailable_seconds``.
            ConsumerStalled: a partition has records that do not arrive.
            ConfigError: the broker refuses the login, TLS or the topic.
        """
        handle = self._opened()
        if self._failure:
            raise self._failure
        self._note_faults(handle, timeout_seconds if self._is_paused else 0.0)
        if self._is_paused:
            self._looked_at = time.monotonic()
            return []
        addresses = self._receive(handle, max_messages, timeout_seconds)
        received = self._read(handle, addresses)
        if received:
            self._unseen_since = None
            self._faults.clear()
        if self._failure is None:
            self._watch(handle, saw_all=len(addresses) < max_messages)
        if self._failure and not received:
            raise self._failure
        return received

    @property
    def is_paused(self) -> bool:
        """Whether `pause` was called last, not `resume`."""
        return self._is_paused

    def pause(self) -> None:
        """Hand nothing over until `resume`; librdkafka fetches ahead up to ``max_queued_bytes``, then waits by itself.

        `rd_kafka_pause_partitions` is not used: it throws away what was fetched ahead, which is then fetched again.
        """
        self._is_paused = True

    def resume(self) -> None:
        """Hand over again, from where `pause` stopped."""
        self._is_paused = False

    def close(self) -> None:
        """Stop fetching and return at once. Messages that live on keep librdkafka; the last of them ends it."""
        if self._handle is not None:
            self._handle.close()
            self._handle = self._reader = None

    def _opened(self) -> Handle:
        if self._handle is None:
            raise ValueError("the consumer is closed")
        return self._handle

    def _receive(self, handle: Handle, max_messages: int, timeout_seconds: float) -> Sequence[int]:
        """Addresses of raw messages, which the caller owns.

        `rd_kafka_consume_batch_queue` waits until the array is full or the time is over, so it takes all that is there
        without waiting; only if there is nothing it waits, for one.
        """
        if max_messages > len(self._pointers):
            self._pointers = (c_void_p * max_messages)()
        library = load()
        count = library.quick.rd_kafka_consume_batch_queue(handle.consumer_queue, 0, self._pointers, max_messages)
        if count == 0 and timeout_seconds > 0:
            timeout_ms = int(timeout_seconds * 1000)
            count = library.waiting.rd_kafka_consume_batch_queue(handle.consumer_queue, timeout_ms, self._pointers, 1)
        return cast("list[int]", self._pointers[: max(count, 0)])

    def _read(self, handle: Handle, addresses: Sequence[int]) -> list[Message | EndOfPartition]:
        """Take over raw messages. A fault ends the reading: after a bad record librdkafka goes on with the next one."""
        received: list[Message | EndOfPartition] = []
        read, destroy = cast(MessageReader, self._reader).read, load().quick.rd_kafka_message_destroy
        for address in addresses:
            raw = RawMessage.from_address(address)
            if raw.err == Code.NO_ERROR and self._failure is None:
                received.append(read(address, raw))
                self._offsets[raw.partition] = raw.offset + 1
                continue
            if raw.err == Code.PARTITION_EOF and self._failure is None:
                received.append(EndOfPartition(raw.partition, raw.offset))
                self._offsets[raw.partition] = raw.offset
            elif raw.err and self._failure is None:
                self._failure = self._judge(handle, raw)
            destroy(address)
        return received

    def _judge(self, handle: Handle, raw: RawMessage) -> ArrowIngestError | None:
        """The error that a raw message without a record stands for, if it is one to stop at.

        Without a topic it is about the group (the search for its coordinator), which nothing here rests on.
        """
        if raw.rkt is None:
            return None
        detail = string_at(raw.payload, raw.len).decode(errors="replace") if raw.payload else f"error {raw.err}"
        fault = Fault(raw.err, detail, raw.partition)
        available = None
        if fault.code in LOST_OFFSET:
            available = handle.watermarks(self._kafka.topic, raw.partition, ASK_SECONDS)
        return partition_error(self._kafka, fault, self._offsets.get(raw.partition, -1), available)

    def _note_faults(self, handle: Handle, timeout_seconds: float) -> None:
        for fault in handle.faults(timeout_seconds):
            self._failure = self._failure or topic_error(self._kafka, fault)
            if fault.code == Code.ALL_BROKERS_DOWN and self._unseen_since is None:
                self._unseen_since = self._watchdog.clock_seconds
            # A broker that is down says so again and again; a refused login must still be found among that.
            if fault.code in SETTINGS_TO_BLAME or not any(known.code == fault.code for known in self._faults):
                self._faults.append(fault)

    def _watch(self, handle: Handle, *, saw_all: bool) -> None:
        """Judge the silence, of the brokers as a whole and of single partitions; what is wrong becomes the failure."""
        now = time.monotonic()
        elapsed_seconds, self._looked_at = now - self._looked_at, now
        if not saw_all:
            return
        self._watchdog.tick(elapsed_seconds, self._offsets)
        unseen_since = self._unseen_since
        if unseen_since is not None and self._watchdog.clock_seconds - unseen_since >= self._unavailable_seconds:
            self._expect_broker(handle)
        if (partition := self._watchdog.to_ask()) is not None:
            self._expect_progress(handle, partition)

    def _expect_broker(self, handle: Handle) -> None:
        """Fail unless the broker answers now: it may have come back and have had nothing to say since."""
        if self._ask(handle, next(iter(self._offsets), 0)) is None:
            self._failure = unreachable(self._kafka, f"reading topic {self._kafka.topic}", self._faults)

    def _expect_progress(self, handle: Handle, partition: int) -> None:
        """Ask for the end of a silent partition, and fail if one has been behind its end for too long."""
        available = self._ask(handle, partition)
        self._watchdog.answer(partition, available[1] if available else None)
        if (stalled := self._watchdog.stalled()) is not None:
            self._failure = ConsumerStalled(stalled, self._offsets[stalled], self._watchdog.stall_seconds)

    def _ask(self, handle: Handle, partition: int) -> tuple[int, int] | None:
        """The partition's ``(low, end)``, and take the answer, or its absence, as a sign of life."""
        available = handle.watermarks(self._kafka.topic, partition, ASK_SECONDS)
        if available is not None:
            self._unseen_since = None
        elif self._unseen_since is None:
            self._unseen_since = self._watchdog.clock_seconds
        return available
