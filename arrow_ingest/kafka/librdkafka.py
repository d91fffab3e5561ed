"""The librdkafka inside confluent-kafka's wheel, as ctypes functions.

confluent-kafka's own consumer copies every payload into ``bytes``. Calling the same library by ctypes leaves payloads
where librdkafka received them. No file of the library is searched: the symbols resolve through the extension module,
which is linked against exactly one librdkafka.
"""

import ctypes
from ctypes import CFUNCTYPE, POINTER, Structure, c_char_p, c_int, c_int32, c_int64, c_size_t, c_ssize_t, c_void_p
from enum import IntEnum
from functools import cache
from typing import Any, NamedTuple, cast

from arrow_ingest.errors import MissingPart

CONSUMER = 1
"""``RD_KAFKA_CONSUMER`` of ``rd_kafka_type_t``."""

EVENT_LOG = 0x4
EVENT_ERROR = 0x8

NO_TIMESTAMP = 0
"""``RD_KAFKA_TIMESTAMP_NOT_AVAILABLE``."""


class Code(IntEnum):
    """The codes of ``rd_kafka_resp_err_t`` that this room tells apart; a test compares them with confluent-kafka's."""

    BAD_MSG = -199
    BAD_COMPRESSION = -198
    TRANSPORT = -195
    PARTITION_EOF = -191
    UNKNOWN_TOPIC = -188
    ALL_BROKERS_DOWN = -187
    SSL = -181
    AUTHENTICATION = -169
    AUTO_OFFSET_RESET = -140
    LOG_TRUNCATION = -139
    NO_ERROR = 0
    OFFSET_OUT_OF_RANGE = 1
    INVALID_MSG = 2
    UNKNOWN_TOPIC_OR_PART = 3
    LEADER_NOT_AVAILABLE = 5
    NOT_LEADER_FOR_PARTITION = 6
    COORDINATOR_LOAD_IN_PROGRESS = 14
    COORDINATOR_NOT_AVAILABLE = 15
    NOT_COORDINATOR = 16
    TOPIC_AUTHORIZATION_FAILED = 29
    GROUP_AUTHORIZATION_FAILED = 30
    CLUSTER_AUTHORIZATION_FAILED = 31
    SASL_AUTHENTICATION_FAILED = 58
    GROUP_ID_NOT_FOUND = 69


class RawMessage(Structure):
    """``rd_kafka_message_t``. For an error, ``err`` is not 0 and ``payload`` is its text."""

    _fields_ = (
        ("err", c_int),
        ("rkt", c_void_p),
        ("partition", c_int32),
        ("payload", c_void_p),
        ("len", c_size_t),
        ("key", c_void_p),
        ("key_len", c_size_t),
        ("offset", c_int64),
        ("private", c_void_p),
    )


class RawTopicPartition(Structure):
    """``rd_kafka_topic_partition_t``."""

    _fields_ = (
        ("topic", c_char_p),
        ("partition", c_int32),
        ("offset", c_int64),
        ("metadata", c_void_p),
        ("metadata_size", c_size_t),
        ("opaque", c_void_p),
        ("err", c_int),
        ("private", c_void_p),
    )


ERROR_CALLBACK = CFUNCTYPE(None, c_void_p, c_int, c_char_p, c_void_p)
"""``void error_cb(rd_kafka_t *, int err, const char *reason, void *opaque)``."""

_PROTOTYPES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "rd_kafka_assign": (c_int, (c_void_p, c_void_p)),
    "rd_kafka_conf_destroy": (None, (c_void_p,)),
    "rd_kafka_conf_new": (c_void_p, ()),
    "rd_kafka_conf_set": (c_int, (c_void_p, c_char_p, c_char_p, c_char_p, c_size_t)),
    "rd_kafka_conf_set_error_cb": (None, (c_void_p, ERROR_CALLBACK)),
    "rd_kafka_conf_set_events": (None, (c_void_p, c_int)),
    "rd_kafka_consume_batch_queue": (c_ssize_t, (c_void_p, c_int, c_void_p, c_size_t)),
    "rd_kafka_consumer_close": (c_int, (c_void_p,)),
    "rd_kafka_destroy": (None, (c_void_p,)),
    "rd_kafka_event_destroy": (None, (c_void_p,)),
    "rd_kafka_event_error": (c_int, (c_void_p,)),
    "rd_kafka_event_error_string": (c_char_p, (c_void_p,)),
    "rd_kafka_event_log": (c_int, (c_void_p, POINTER(c_char_p), POINTER(c_char_p), POINTER(c_int))),
    "rd_kafka_event_type": (c_int, (c_void_p,)),
    "rd_kafka_header_get_all": (
        c_int,
        (c_void_p, c_size_t, POINTER(c_char_p), POINTER(c_void_p), POINTER(c_size_t)),
    ),
    "rd_kafka_message_destroy": (None, (c_void_p,)),
    "rd_kafka_message_headers": (c_int, (c_void_p, POINTER(c_void_p))),
    "rd_kafka_message_leader_epoch": (c_int32, (c_void_p,)),
    "rd_kafka_message_timestamp": (c_int64, (c_void_p, POINTER(c_int))),
    "rd_kafka_new": (c_void_p, (c_int, c_void_p, c_char_p, c_size_t)),
    "rd_kafka_query_watermark_offsets": (
        c_int,
        (c_void_p, c_char_p, c_int32, POINTER(c_int64), POINTER(c_int64), c_int),
    ),
    "rd_kafka_queue_destroy": (None, (c_void_p,)),
    "rd_kafka_queue_get_consumer": (c_void_p, (c_void_p,)),
    "rd_kafka_queue_get_main": (c_void_p, (c_void_p,)),
    "rd_kafka_queue_poll": (c_void_p, (c_void_p, c_int)),
    "rd_kafka_set_log_queue": (c_int, (c_void_p, c_void_p)),
    "rd_kafka_topic_partition_list_add": (POINTER(RawTopicPartition), (c_void_p, c_char_p, c_int32)),
    "rd_kafka_topic_partition_list_destroy": (None, (c_void_p,)),
    "rd_kafka_topic_partition_list_new": (c_void_p, (c_int,)),
    "rd_kafka_topic_partition_set_leader_epoch": (None, (POINTER(RawTopicPartition), c_int32)),
}


class Librdkafka(NamedTuple):
    """The same functions twice.

    Args:
        waiting: releases the GIL around each call: for whatever may block.
        quick: keeps the GIL, for calls of well under a microsecond. Giving the GIL away there costs more than the call,
            and up to a switch interval (5 ms) when another thread computes. None of librdkafka's own threads ever
            enters Python, so none of them waits for the GIL while it holds one of librdkafka's locks.
    """

    waiting: ctypes.CDLL
    quick: ctypes.PyDLL


@cache
def load() -> Librdkafka:
    """Bind the library, once per process.

    Raises:
        MissingPart: confluent-kafka is not there, or its librdkafka does not show a symbol.
    """
    try:
        from confluent_kafka import cimpl
    except ImportError as error:
        raise MissingPart(f"confluent-kafka cannot be imported ({error}): pip install confluent-kafka") from error
    path = cimpl.__file__
    return Librdkafka(waiting=declare(ctypes.CDLL, path), quick=cast(ctypes.PyDLL, declare(ctypes.PyDLL, path)))


def declare(loader: type[ctypes.CDLL], path: str) -> ctypes.CDLL:
    """Open the library at ``path`` and declare every prototype that this room calls.

    Raises:
        MissingPart: the file does not open, or has not all symbols.
    """
    try:
        library = loader(path)
        for name, (result, arguments) in _PROTOTYPES.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError) as error:
        raise MissingPart(
            f"the librdkafka behind {path} cannot be called directly ({error}): arrow_ingest reads Kafka without "
            "copying through the library that confluent-kafka's own wheels carry (2.16 or newer); "
            "install it with pip from PyPI, not from a build that hides librdkafka's symbols"
        ) from error
    return library
