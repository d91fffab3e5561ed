"""librdkafka's error codes to arrow_ingest's errors: what suspends a lane, wants a person, or passes by itself."""

from collections.abc import Iterable
from typing import NamedTuple

from confluent_kafka import KafkaError

from arrow_ingest.config import KafkaConfig
from arrow_ingest.errors import (
    ArrowIngestError,
    BrokerUnavailable,
    ConfigError,
    LaneSuspended,
    SuspendReason,
    TopicMissing,
)
from arrow_ingest.kafka.guard import outside
from arrow_ingest.kafka.librdkafka import Code


class Fault(NamedTuple):
    """An error that librdkafka reported: of one partition, or of the client as a whole (partition None)."""

    code: int
    detail: str
    partition: int | None = None


_LOGIN = "sasl.mechanism, sasl.username and sasl.password"

SETTINGS_TO_BLAME = {
    Code.AUTHENTICATION: f"the login was refused: check {_LOGIN}",
    Code.SASL_AUTHENTICATION_FAILED: f"the login was refused: check {_LOGIN}",
    Code.SSL: (
        "no TLS connection: check security.protocol, ssl.ca.location and ssl.certificate.location, and that the names "
        "in kafka.bootstrap_servers are those in the brokers' certificates"
    ),
    Code.TOPIC_AUTHORIZATION_FAILED: "the user of sasl.username may not Read and Describe the topic",
    Code.GROUP_AUTHORIZATION_FAILED: "the user of sasl.username may not Read the consumer group",
    Code.CLUSTER_AUTHORIZATION_FAILED: "the user of sasl.username may not Describe the cluster",
}
"""Errors that waiting does not cure, and the property that is to blame."""

MOVING = frozenset(
    {
        Code.LEADER_NOT_AVAILABLE,
        Code.NOT_LEADER_FOR_PARTITION,
        Code.COORDINATOR_LOAD_IN_PROGRESS,
        Code.COORDINATOR_NOT_AVAILABLE,
        Code.NOT_COORDINATOR,
    }
)
"""A partition or a consumer group is about to have another broker, or its first one. Passes within seconds."""

AGAIN_SECONDS = 0.1
"""How long until what is `MOVING` is asked for again."""

LOST_OFFSET = frozenset({Code.AUTO_OFFSET_RESET, Code.OFFSET_OUT_OF_RANGE, Code.LOG_TRUNCATION})
_CORRUPT = frozenset({Code.BAD_MSG, Code.BAD_COMPRESSION, Code.INVALID_MSG})
_NO_TOPIC = frozenset({Code.UNKNOWN_TOPIC, Code.UNKNOWN_TOPIC_OR_PART})


def unreachable(kafka: KafkaConfig, doing: str, faults: Iterable[Fault]) -> ArrowIngestError:
    """The error for "no answer in time": the setting to blame if one of the faults tells, else `BrokerUnavailable`.

    >>> kafka = KafkaConfig(topic="t", bootstrap_servers="b:1")
    >>> type(unreachable(kafka, "reading", [Fault(Code.SSL, "handshake failed"), Fault(Code.TRANSPORT, "down")]))
    <class 'arrow_ingest.errors.ConfigError'>
    >>> type(unreachable(kafka, "reading", []))
    <class 'arrow_ingest.errors.BrokerUnavailable'>
    """
    told = "timed out"
    for code, detail, _ in faults:
        if code in SETTINGS_TO_BLAME:
            return _to_blame(kafka, Code(code), detail)
        if code != Code.ALL_BROKERS_DOWN:  # which says only how many
            told = detail
    return BrokerUnavailable(kafka.bootstrap_servers, doing, told)


def refused(kafka: KafkaConfig, doing: str, failure: KafkaError, met: Iterable[Fault]) -> ArrowIngestError:
    """The error for a request that the brokers, or librdkafka, answered with ``failure``.

    Args:
        met: what the connection met meanwhile.
    """
    code, detail = failure.code(), failure.str()
    if code == Code.UNKNOWN_TOPIC_OR_PART:
        return TopicMissing(kafka.topic, kafka.bootstrap_servers)
    if code < 0 or code in MOVING or failure.retriable() or code in SETTINGS_TO_BLAME:
        return unreachable(kafka, doing, [Fault(code, detail), *met])
    return ConfigError(f"Kafka at {kafka.bootstrap_servers} refused {doing} ({kafka.topic}): {detail}")


def partition_error(
    kafka: KafkaConfig, fault: Fault, wanted: int, available: tuple[int, int] | None
) -> ArrowIngestError | None:
    """What one partition's fault means for the lane; None if librdkafka gets over it by itself.

    Args:
        wanted: the next offset that the reader wants.
        available: ``[low, end)`` as the broker answers now, if it does; says which way the offset was lost.
    """
    code, detail, partition = fault
    where = f"partition {partition} of {kafka.topic} at offset {wanted}"
    if code in LOST_OFFSET:
        return _lost_offset(kafka.topic, fault, wanted, available)
    if code in _CORRUPT:
        reason = f"{where}: a record fails its checksum or cannot be unpacked: {detail}"
        return LaneSuspended(SuspendReason.CORRUPT_RECORD, reason, partition=partition, expected=wanted)
    return topic_error(kafka, fault)


def topic_error(kafka: KafkaConfig, fault: Fault) -> ArrowIngestError | None:
    """What a fault means for the topic as a whole; None if it is about something else, or passes."""
    if fault.code in _NO_TOPIC:
        return TopicMissing(kafka.topic, kafka.bootstrap_servers)
    if fault.code == Code.TOPIC_AUTHORIZATION_FAILED:
        return _to_blame(kafka, Code.TOPIC_AUTHORIZATION_FAILED, fault.detail)
    return None


def _lost_offset(topic: str, fault: Fault, wanted: int, available: tuple[int, int] | None) -> LaneSuspended:
    partition = fault.partition or 0
    if available and (incident := outside(topic, partition, wanted, available)):
        return incident
    # Inside the range all the same: the leader epoch told that the log was cut off below, and has grown since.
    return LaneSuspended(
        SuspendReason.LOG_TRUNCATED,
        f"partition {partition} of {topic}: the log below offset {wanted} is not what was read: {fault.detail}",
        partition=partition,
        expected=wanted,
        available=available,
    )


def _to_blame(kafka: KafkaConfig, code: Code, detail: str) -> ConfigError:
    text = f"Kafka at {kafka.bootstrap_servers}, topic {kafka.topic}: {SETTINGS_TO_BLAME[code]} ({detail})"
    return ConfigError(text, key="kafka.properties")
