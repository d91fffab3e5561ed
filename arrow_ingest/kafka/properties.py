"""The pipeline's settings to librdkafka's properties."""

import re
from collections.abc import Mapping

from arrow_ingest.config import KafkaConfig

MIB = 1024 * 1024

FETCH_BYTES = 16 * MIB
"""Size of one fetch response, unless its first message alone is larger."""

MAX_INT32 = 2**31 - 1

MASK = "***"

_SECRET = re.compile(r"password|secret|token|\.pem$|private|oauthbearer\.config|assertion")

_CONSUMER_ONLY = (
    "auto.commit.",
    "auto.offset.",
    "check.crcs",
    "enable.auto.",
    "enable.partition.eof",
    "fetch.",
    "group.",
    "heartbeat.",
    "isolation.level",
    "max.partition.fetch.bytes",
    "max.poll.",
    "partition.assignment.",
    "queued.",
    "session.timeout.",
)


def is_secret(name: str) -> bool:
    """Whether a property's value must not be shown.

    >>> [is_secret(name) for name in ("sasl.password", "ssl.key.pem", "sasl.username", "ssl.ca.location")]
    [True, True, False, False]
    """
    return _SECRET.search(name) is not None


def masked(properties: Mapping[str, str]) -> dict[str, str]:
    """The properties as they may be shown.

    >>> masked({"sasl.username": "ann", "sasl.password": "hunter2"})
    {'sasl.username': 'ann', 'sasl.password': '***'}
    """
    return {name: MASK if is_secret(name) else value for name, value in properties.items()}


def consumer_properties(
    kafka: KafkaConfig, *, group: str, max_message_bytes: int, max_queued_bytes: int
) -> dict[str, str]:
    """Properties for a consumer of one lane: our defaults, over them the user's, over them what must hold.

    Args:
        max_message_bytes: larger messages become dead letters, so they have to arrive too, up to four times this.
        max_queued_bytes: payload bytes that librdkafka fetches ahead; one fetch response may overshoot it.
    """
    defaults = {
        "client.id": "arrow-ingest",
        # One response is one allocation, and one live array keeps all of it. From 4 to 50 MiB the throughput is the
        # same (600 MB/s on loopback, 1.1 MB messages), so what one straggler can pin decides: no more than the largest
        # message that passes by default.
        "fetch.max.bytes": str(FETCH_BYTES),
        # Of it, what one partition may take, so that none starves while others catch up.
        "max.partition.fetch.bytes": str(FETCH_BYTES // 4),
        # How late the end of a partition is told of: the broker holds the fetch back so long. 500 by default.
        "fetch.wait.max.ms": "100",
        # 32 MiB ahead are as fast as 64.
        "queued.max.messages.kbytes": str(max(1024, max_queued_bytes // 1024)),
        # By bytes only: a queue of small messages is not cut short by their number (100,000 by default).
        "queued.min.messages": "10000000",
        # The default of 1000 leaves a partition alone for a second whenever the queue was full: half the throughput.
        "fetch.queue.backoff.ms": "5",
        # A response over this stalls its partition for ever without an error (see Watchdog).
        "receive.message.max.bytes": str(min(max(4 * max_message_bytes, FETCH_BYTES) + MIB, MAX_INT32)),
        "reconnect.backoff.max.ms": "1000",
        "allow.auto.create.topics": "false",
    }
    required = {
        "bootstrap.servers": kafka.bootstrap_servers,
        # assign() wants a group; nothing joins it and nothing commits to it.
        "group.id": group,
        "enable.auto.commit": "false",
        "enable.auto.offset.store": "false",
        # The end of a partition is where the broker says it is, not the last record.
        "enable.partition.eof": "true",
        "isolation.level": "read_committed",
        # `earliest` and `latest` would hide a truncation.
        "auto.offset.reset": "error",
        # Off by default, and then a corrupt record is delivered as data.
        "check.crcs": "true",
        # Log lines become events, which this room hands to Python's logging.
        "log.queue": "true",
    }
    return defaults | kafka.properties | required


def admin_properties(kafka: KafkaConfig) -> dict[str, str]:
    """Properties for the admin client: how to connect, without what only a consumer knows.

    >>> given = {"fetch.min.bytes": "9", "sasl.username": "ann"}
    >>> sorted(admin_properties(KafkaConfig(topic="t", bootstrap_servers="b:1", properties=given)))
    ['bootstrap.servers', 'client.id', 'log_level', 'reconnect.backoff.max.ms', 'sasl.username', \
'topic.metadata.refresh.interval.ms']
    """
    connection = {name: value for name, value in kafka.properties.items() if not name.startswith(_CONSUMER_ONLY)}
    # Log level 0: what matters comes back as an error; `debug` in the user's properties turns lines on again.
    defaults = {
        "client.id": "arrow-ingest",
        "reconnect.backoff.max.ms": "1000",
        "log_level": "0",
        # Requests go to the controller that the last metadata named. With the default of five minutes, those that find
        # it dead fail until then, although the other brokers serve; any broker may be the one (KRaft names a live one).
        "topic.metadata.refresh.interval.ms": "2000",
    }
    return defaults | connection | {"bootstrap.servers": kafka.bootstrap_servers}
