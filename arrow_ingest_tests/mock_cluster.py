"""librdkafka's own mock cluster: brokers inside this process whose faults can be ordered.

It speaks the real protocol over real sockets. What it adds to the embedded broker: brokers that go and come back with
their records, retention (it keeps about 5 MB per partition), out-of-range answers, leader epochs, errors by topic.
"""

import ctypes
import socket
import struct
from ctypes import c_char_p, c_int, c_int16, c_int32, c_size_t, c_void_p
from types import TracebackType
from typing import Any, Self

from arrow_ingest.kafka.handle import Handle
from arrow_ingest.kafka.librdkafka import load

_PROTOTYPES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "rd_kafka_mock_broker_set_down": (c_int, (c_void_p, c_int32)),
    "rd_kafka_mock_broker_set_rtt": (c_int, (c_void_p, c_int32, c_int)),
    "rd_kafka_mock_broker_set_up": (c_int, (c_void_p, c_int32)),
    "rd_kafka_mock_cluster_bootstraps": (c_char_p, (c_void_p,)),
    "rd_kafka_mock_cluster_destroy": (None, (c_void_p,)),
    "rd_kafka_mock_cluster_new": (c_void_p, (c_void_p, c_int)),
    "rd_kafka_mock_push_request_errors_array": (None, (c_void_p, c_int16, c_size_t, c_void_p)),
    "rd_kafka_mock_topic_create": (c_int, (c_void_p, c_char_p, c_int, c_int)),
    "rd_kafka_mock_topic_set_error": (None, (c_void_p, c_char_p, c_int)),
}

PRODUCE, PRODUCE_VERSION = 0, 3
FETCH, LIST_OFFSETS, OFFSET_COMMIT, OFFSET_FETCH, INIT_PRODUCER_ID = 1, 2, 8, 9, 22


class MockCluster:
    """One mock broker."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(load().waiting._name)
        for name, (result, arguments) in _PROTOTYPES.items():
            function = getattr(self._library, name)
            function.restype, function.argtypes = result, arguments
        self._host = Handle({"group.id": "mock-host", "log.queue": "true"})
        self._cluster = self._library.rd_kafka_mock_cluster_new(self._host.address, 1)
        self.bootstrap_servers: str = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._library.rd_kafka_mock_cluster_destroy(self._cluster)
        self._host.close()

    def create_topic(self, name: str, partitions: int = 1) -> None:
        assert self._library.rd_kafka_mock_topic_create(self._cluster, name.encode(), partitions, 1) == 0

    def set_topic_error(self, name: str, code: int) -> None:
        self._library.rd_kafka_mock_topic_set_error(self._cluster, name.encode(), code)

    def answer_with(self, api: int, *codes: int) -> None:
        """Answer the next requests of one kind with these errors."""
        array = (c_int * len(codes))(*codes)
        self._library.rd_kafka_mock_push_request_errors_array(self._cluster, api, len(codes), array)

    def set_down(self) -> None:
        assert self._library.rd_kafka_mock_broker_set_down(self._cluster, 1) == 0

    def set_up(self) -> None:
        assert self._library.rd_kafka_mock_broker_set_up(self._cluster, 1) == 0

    def set_slow(self, milliseconds: int) -> None:
        """Let each answer take so long."""
        assert self._library.rd_kafka_mock_broker_set_rtt(self._cluster, 1, milliseconds) == 0

    def append_raw(self, topic: str, batch: bytes) -> None:
        """Produce a record batch as it stands to partition 0, whatever is wrong with it."""
        host, port = self.bootstrap_servers.split(",")[0].split(":")
        header = struct.pack(">hhih", PRODUCE, PRODUCE_VERSION, 1, -1)
        name = topic.encode()
        body = struct.pack(">hhiih", -1, 1, 5000, 1, len(name)) + name + struct.pack(">iii", 1, 0, len(batch)) + batch
        with socket.create_connection((host, int(port)), timeout=5) as connection:
            connection.sendall(struct.pack(">i", len(header) + len(body)) + header + body)
            size = struct.unpack(">i", connection.recv(4, socket.MSG_WAITALL))[0]
            connection.recv(size, socket.MSG_WAITALL)


def record_batch(value: bytes, crc: int) -> bytes:
    """One record as a version 2 batch with a checksum of the caller's choice."""
    record = b"\x00" + b"\x00" + b"\x00" + b"\x01" + _varint(len(value)) + value + b"\x00"
    records = _varint(len(record)) + record
    after_crc = struct.pack(">hiqqqhii", 0, 0, 0, 0, -1, -1, -1, 1) + records
    after_length = struct.pack(">ibI", 0, 2, crc) + after_crc
    return struct.pack(">qi", 0, len(after_length)) + after_length


def _varint(number: int) -> bytes:
    """A small non-negative number in Kafka's zigzag encoding."""
    assert 0 <= number < 64
    return bytes([number << 1])
