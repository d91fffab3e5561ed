"""What a consumer hands over: messages whose payloads lie where librdkafka received them, and ends of partitions."""

import ctypes
from ctypes import c_char_p, c_int, c_size_t, c_void_p
from dataclasses import dataclass

import pyarrow as pa

from arrow_ingest.kafka.handle import Handle
from arrow_ingest.kafka.librdkafka import NO_TIMESTAMP, Code, RawMessage, load


@dataclass(frozen=True, slots=True)
class EndOfPartition:
    """The broker has nothing more at present.

    Args:
        offset: the next offset to read, as the broker says: the end for read_committed. It may lie beyond the last
            record's successor, behind control records, aborted records and what compaction removed.
    """

    partition: int
    offset: int


class RecordOwner:
    """Owns one ``rd_kafka_message_t`` and, with it, a share of its fetch response; gives it back when collected.

    It is the base of the payload's buffer, so that every array that was cut out of the payload keeps it. It can be
    collected by any thread, Arrow's writers included.
    """

    __slots__ = ("_destroy", "address", "handle")

    def __init__(self, address: int, handle: Handle) -> None:
        self.address = address
        self.handle = handle
        # Module globals may be gone when the interpreter's shutdown collects this.
        self._destroy = load().quick.rd_kafka_message_destroy

    def __del__(self) -> None:
        self._destroy(self.address)


class Message:
    """One Kafka record.

    Attributes:
        timestamp_ms: milliseconds since 1970 UTC, as the producer or the broker set it; None if the record has none.
        leader_epoch: the epoch of the leader that wrote it, -1 if unknown.
        payload: the value in librdkafka's receive buffer, not aligned; None for a record without a value. It, or any
            array that lies in it, keeps the whole fetch response in memory.
    """

    __slots__ = ("_owner", "leader_epoch", "offset", "partition", "payload", "timestamp_ms")

    def __init__(self, owner: RecordOwner, raw: RawMessage, timestamp_ms: int | None, leader_epoch: int) -> None:
        self._owner = owner
        self.partition: int = raw.partition
        self.offset: int = raw.offset
        self.timestamp_ms = timestamp_ms
        self.leader_epoch = leader_epoch
        self.payload: pa.Buffer | None = (
            None if raw.payload is None else pa.foreign_buffer(raw.payload, raw.len, base=owner)
        )

    def __repr__(self) -> str:
        size = None if self.payload is None else self.payload.size
        return f"Message(partition={self.partition}, offset={self.offset}, payload_bytes={size})"

    def key(self) -> bytes | None:
        """A copy of the key, None if the record has none."""
        raw = RawMessage.from_address(self._owner.address)
        return None if raw.key is None else ctypes.string_at(raw.key, raw.key_len)

    def headers(self) -> tuple[tuple[str, bytes | None], ...]:
        """Copies of the headers in the record's order. Bytes of a name that are not UTF-8 are escaped."""
        quick = load().quick
        headers, name, value, size = c_void_p(), c_char_p(), c_void_p(), c_size_t()
        if quick.rd_kafka_message_headers(self._owner.address, headers) != Code.NO_ERROR:
            return ()
        found: list[tuple[str, bytes | None]] = []
        while quick.rd_kafka_header_get_all(headers, len(found), name, value, size) == Code.NO_ERROR:
            copied = None if value.value is None else ctypes.string_at(value.value, size.value)
            found.append(((name.value or b"").decode(errors="backslashreplace"), copied))
        return tuple(found)


class MessageReader:
    """Turns the addresses of raw messages into `Message` values; one per consumer, since it reuses an out-parameter."""

    __slots__ = ("_epoch", "_handle", "_kind", "_timestamp")

    def __init__(self, handle: Handle) -> None:
        quick = load().quick
        self._handle = handle
        self._kind = c_int()
        self._timestamp = quick.rd_kafka_message_timestamp
        self._epoch = quick.rd_kafka_message_leader_epoch

    def read(self, address: int, raw: RawMessage) -> Message:
        """Take over the message at ``address``, of which ``raw`` is a view."""
        owner = RecordOwner(address, self._handle)
        timestamp_ms: int = self._timestamp(address, self._kind)
        known = self._kind.value != NO_TIMESTAMP and timestamp_ms >= 0
        return Message(owner, raw, timestamp_ms if known else None, self._epoch(address))
