"""A consumer group's offsets of one topic, read and set: the copy of the lake's for monitors."""

import ctypes
import logging
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from arrow_ingest.config import KafkaConfig
from arrow_ingest.kafka.faults import AGAIN_SECONDS, MOVING, Fault, refused, unreachable
from arrow_ingest.kafka.librdkafka import Code
from arrow_ingest.kafka.properties import admin_properties

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.005


class GroupOffsets:
    """The offsets of ``group``, through a consumer that joins nothing and reads nothing.

    Not through librdkafka's admin client, which has no group: a broker that answers it "not coordinator" or
    "coordinator loading" (the group's first request ever, or its broker has just changed) ends the process with a
    segmentation fault, when offsets are listed (librdkafka 2.16, issue 5040) and when they are set.

    Connects with the first question. Both methods raise `BrokerUnavailable` when no answer comes in time and
    `ConfigError` when the brokers refuse the login, TLS or a right.
    """

    def __init__(self, kafka: KafkaConfig, group: str, *, timeout_seconds: float = 10.0) -> None:
        self._kafka = kafka
        self._group = group
        self._timeout_seconds = timeout_seconds
        self._faults: list[Fault] = []
        self._answers: list[tuple[KafkaError | None, list[TopicPartition]]] = []
        self._consumer: Consumer | None = None
        self._is_unanswered = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the connection; the next question makes another one.

        Over a commit whose broker is gone librdkafka 2.16 does not come back from closing (five of six times, whatever
        the timeouts): such a client is left to the end of the process.
        """
        consumer, self._consumer = self._consumer, None
        if consumer is None:
            return
        if self._is_unanswered:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(consumer))
            self._is_unanswered = False
        else:
            consumer.close()

    def read(self) -> dict[int, int]:
        """Per partition the group's offset, which may lag behind the lake; none where none was ever set."""
        deadline = time.monotonic() + self._timeout_seconds
        doing = f"reading the offsets of group {self._group}"
        topic = self._kafka.topic
        self._faults.clear()
        while True:
            try:
                consumer = self._connected()
                known = consumer.list_topics(topic, timeout=_left(deadline)).topics[topic].partitions
                wanted = [TopicPartition(topic, partition) for partition in sorted(known)]
                found = consumer.committed(wanted, timeout=_left(deadline))
                return {entry.partition: entry.offset for entry in found if entry.offset >= 0}
            except KafkaException as error:
                failure: KafkaError = error.args[0]
                if failure.code() == Code.GROUP_ID_NOT_FOUND:
                    return {}
                self._passes_or_raise(doing, failure, deadline)

    def write(self, offsets: Mapping[int, int]) -> None:
        """Set the group's offsets, so that ordinary Kafka tools show the lag."""
        if not offsets:
            return
        deadline = time.monotonic() + self._timeout_seconds
        doing = f"mirroring offsets to group {self._group}"
        entries = [
            TopicPartition(self._kafka.topic, partition, offset) for partition, offset in sorted(offsets.items())
        ]
        self._faults.clear()
        if self._is_unanswered:
            self._answer(doing, deadline)  # of an earlier commit: whatever it is, this one goes behind it
        while (failure := self._committed(entries, doing, deadline)) is not None:
            self._passes_or_raise(doing, failure, deadline)

    def _committed(self, entries: list[TopicPartition], doing: str, deadline: float) -> KafkaError | None:
        """Send one commit and wait for its answer: None if every partition took it.

        Asynchronously, since librdkafka's synchronous commit waits without an end for a group that has no broker.
        """
        self._connected().commit(offsets=entries, asynchronous=True)
        self._is_unanswered = True
        failure, answered = self._answer(doing, deadline)
        return failure or next((entry.error for entry in answered if entry.error is not None), None)

    def _answer(self, doing: str, deadline: float) -> tuple[KafkaError | None, list[TopicPartition]]:
        """Wait for the answer to the one commit that is under way."""
        while not self._answers:
            self._connected().poll(_POLL_SECONDS)
            if time.monotonic() > deadline:
                raise unreachable(self._kafka, doing, self._faults)
        self._is_unanswered = False
        return self._answers.pop()

    def _passes_or_raise(self, doing: str, failure: KafkaError, deadline: float) -> None:
        """Wait a little if the group's broker is only moving and there is time; else the failure in our words."""
        if failure.code() in MOVING and time.monotonic() < deadline:
            time.sleep(AGAIN_SECONDS)
            return
        self._connected().poll(0)  # hands over what the connection met
        raise refused(self._kafka, doing, failure, self._faults)

    def _connected(self) -> Consumer:
        if self._consumer is None:
            properties: dict[str, Any] = {
                **admin_properties(self._kafka),
                "group.id": self._group,
                "enable.auto.commit": "false",
                "error_cb": lambda error: self._faults.append(Fault(error.code(), error.str())),
                "on_commit": lambda error, answered: self._answers.append((error, answered)),
            }
            self._consumer = Consumer(properties, logger=log)
        return self._consumer


def _left(deadline: float) -> float:
    return max(deadline - time.monotonic(), 0.1)
