"""A topic's name in, what the brokers say of it out: identity, watermarks, offsets of times."""

import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from datetime import datetime
from types import TracebackType
from typing import Any, Self

from confluent_kafka import (
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from arrow_ingest.config import KafkaConfig
from arrow_ingest.errors import ArrowIngestError, ConfigError, TopicMissing
from arrow_ingest.kafka.faults import AGAIN_SECONDS, MOVING, Fault, refused, unreachable
from arrow_ingest.kafka.properties import admin_properties
from arrow_ingest.values import TopicState

log = logging.getLogger(__name__)

NOT_FOUND = -1
"""What a broker answers for a time after the last record."""


class Cluster:
    """Asks the brokers about one topic; reads no records.

    Light enough for a sensor: one connection, no group membership, and every method ends within ``timeout_seconds``.
    Every method raises `BrokerUnavailable` when no answer comes in time, `ConfigError` when the brokers refuse the
    login, TLS or a right, and `TopicMissing` when there is no such topic.

    Raises:
        ConfigError: librdkafka refuses a property.
    """

    def __init__(self, kafka: KafkaConfig, *, timeout_seconds: float = 10.0) -> None:
        self._kafka = kafka
        self._timeout_seconds = timeout_seconds
        self._faults: list[Fault] = []
        try:
            properties: dict[str, Any] = {**admin_properties(kafka), "error_cb": self._note}
            self._admin = AdminClient(properties, logger=log)
        except KafkaException as error:
            raise ConfigError(_kafka_error(error).str(), key="kafka.properties") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        # AdminClient has no close: it ends when it is collected, and through its callback it refers to this object.
        del self._admin

    def topic_state(self) -> TopicState:
        """Identity, low watermarks and ends (as read_committed sees them) of all partitions."""
        deadline = self._deadline()
        topic_id, partitions = self._describe(deadline)
        return TopicState(
            topic=self._kafka.topic,
            topic_id=topic_id,
            low=self._offsets(partitions, OffsetSpec.earliest(), deadline),
            high=self._offsets(partitions, OffsetSpec.latest(), deadline),
        )

    def topic_id(self) -> str:
        """The topic's id, which changes when a topic of the same name is made again. One request."""
        return self._describe(self._deadline())[0]

    def offsets_at(self, when: datetime) -> dict[int, int]:
        """Per partition the first offset whose timestamp is not before ``when``; the end where there is none."""
        deadline = self._deadline()
        _, partitions = self._describe(deadline)
        at = self._offsets(partitions, OffsetSpec.for_timestamp(int(when.timestamp() * 1000)), deadline)
        return found_or_end(at, self._offsets(partitions, OffsetSpec.latest(), deadline))

    def create_topic(self, partitions: int, config: Mapping[str, str] | None = None) -> None:
        """Make the topic, unreplicated: for the demo and for tests. Ends when the brokers tell of it.

        Apache Kafka's controller answers before its brokers have heard of the topic; for a moment they deny it.
        """
        topic = NewTopic(self._kafka.topic, num_partitions=partitions, replication_factor=1, config=dict(config or {}))
        deadline = self._deadline()
        self._ask(
            "making the topic",
            lambda seconds: self._admin.create_topics([topic], request_timeout=seconds, operation_timeout=seconds),
            deadline,
        )
        while True:
            try:
                self._describe(deadline)
                return
            except TopicMissing:
                if time.monotonic() > deadline:
                    raise
            time.sleep(AGAIN_SECONDS)

    def delete_topic(self) -> None:
        """Delete the topic and its records."""
        self._ask(
            "deleting the topic",
            lambda seconds: self._admin.delete_topics(
                [self._kafka.topic], request_timeout=seconds, operation_timeout=seconds
            ),
            self._deadline(),
        )

    def _describe(self, deadline: float) -> tuple[str, tuple[int, ...]]:
        topics = TopicCollection([self._kafka.topic])
        answers = self._ask(
            "asking for the topic",
            lambda seconds: self._admin.describe_topics(topics, request_timeout=seconds),
            deadline,
        )
        described = answers[self._kafka.topic]
        return str(described.topic_id), tuple(sorted(partition.id for partition in described.partitions))

    def _offsets(self, partitions: tuple[int, ...], spec: OffsetSpec, deadline: float) -> dict[int, int]:
        wanted = {TopicPartition(self._kafka.topic, partition): spec for partition in partitions}
        answers = self._ask(
            "asking for offsets",
            lambda seconds: self._admin.list_offsets(
                wanted, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=seconds
            ),
            deadline,
        )
        return {entry.partition: answer.offset for entry, answer in answers.items()}

    def _deadline(self) -> float:
        return time.monotonic() + self._timeout_seconds

    def _ask(
        self,
        doing: str,
        request: Callable[[float], Mapping[Any, Future[Any]]],
        deadline: float,
    ) -> dict[Any, Any]:
        """Send a request and wait for all its answers; again, until the deadline, while its broker moves.

        librdkafka ends a request at its own timeout; the future's is for a client that does not even do that.
        """
        self._faults.clear()
        while True:
            try:
                futures = request(max(deadline - time.monotonic(), 0.1))
                return {
                    name: found.result(max(deadline - time.monotonic(), 0.1) + 1.0) for name, found in futures.items()
                }
            except KafkaException as error:
                if _kafka_error(error).code() not in MOVING or time.monotonic() > deadline:
                    raise self._wrapped(doing, _kafka_error(error)) from error
            except FutureTimeout as error:
                raise unreachable(self._kafka, doing, self._faults) from error
            time.sleep(AGAIN_SECONDS)

    def _wrapped(self, doing: str, error: KafkaError) -> ArrowIngestError:
        """The foreign error in our words, with what the connection met meanwhile."""
        self._admin.poll(0)
        return refused(self._kafka, doing, error, self._faults)

    def _note(self, error: KafkaError) -> None:
        self._faults.append(Fault(error.code(), error.str()))


def found_or_end(found: Mapping[int, int], ends: Mapping[int, int]) -> dict[int, int]:
    """The offsets found for a time, and the end of those partitions that have no record so late.

    >>> found_or_end({0: 5, 1: NOT_FOUND}, {0: 9, 1: 7})
    {0: 5, 1: 7}
    """
    return {partition: ends[partition] if offset == NOT_FOUND else offset for partition, offset in found.items()}


def _kafka_error(error: KafkaException) -> KafkaError:
    found: KafkaError = error.args[0]
    return found
