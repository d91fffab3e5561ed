"""Settings in, a running librdkafka consumer out; it ends when its last owner is gone."""

import ctypes
import logging
import sys
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from ctypes import c_char_p, c_int, c_int64
from typing import cast

from arrow_ingest.errors import ConfigError
from arrow_ingest.kafka.faults import Fault
from arrow_ingest.kafka.librdkafka import CONSUMER, ERROR_CALLBACK, EVENT_ERROR, EVENT_LOG, Code, load
from arrow_ingest.kafka.properties import is_secret
from arrow_ingest.values import NO_EPOCH, Position

log = logging.getLogger(__name__)


class Handle:
    """Owns one ``rd_kafka_t`` and its two queues.

    Ownership: whoever may still touch librdkafka's memory keeps a reference to the handle: the consumer and every
    wrapped message. `rd_kafka_destroy` hangs for ever while one message is alive, so it is called when the last
    reference goes, and from a thread of its own, since it joins librdkafka's threads and a finalizer must not wait.

    Args:
        properties: every librdkafka property, merged.

    Raises:
        ConfigError: librdkafka refuses a property.
        MissingPart: librdkafka cannot be called.
    """

    __slots__ = ("__weakref__", "_callback", "_library", "_partition_faults", "address", "consumer_queue", "main_queue")

    address: int | None

    def __init__(self, properties: Mapping[str, str]) -> None:
        self.address = None
        self._library = load()
        quick = self._library.quick
        conf = _configuration(properties)
        # Events, since callbacks would enter Python from librdkafka's threads, also while the interpreter shuts down.
        # Only errors of partitions do not become events: they wait in the consumer queue, and the thread that reads it
        # runs the callback.
        quick.rd_kafka_conf_set_events(conf, EVENT_LOG | EVENT_ERROR)
        self._partition_faults: deque[Fault] = deque(maxlen=64)
        self._callback = _noting(self._partition_faults)
        quick.rd_kafka_conf_set_error_cb(conf, self._callback)
        text = ctypes.create_string_buffer(512)
        self.address = cast("int | None", self._library.waiting.rd_kafka_new(CONSUMER, conf, text, len(text)))
        if self.address is None:
            quick.rd_kafka_conf_destroy(conf)
            raise ConfigError(text.value.decode(errors="replace"), key="kafka.properties")
        quick.rd_kafka_set_log_queue(self.address, None)
        self.main_queue: int = quick.rd_kafka_queue_get_main(self.address)
        self.consumer_queue: int = quick.rd_kafka_queue_get_consumer(self.address)

    def assign(self, topic: str, positions: Mapping[int, Position]) -> None:
        """Read these partitions of ``topic`` from these positions, and no others.

        With a leader epoch, librdkafka first asks the leader whether the log still holds that epoch at that offset
        (OffsetForLeaderEpoch): this is how a truncation is found that has since grown past the position.
        """
        quick = self._library.quick
        partitions = quick.rd_kafka_topic_partition_list_new(len(positions))
        try:
            for partition, position in sorted(positions.items()):
                entry = quick.rd_kafka_topic_partition_list_add(partitions, topic.encode(), partition)
                entry.contents.offset = position.offset
                if position.leader_epoch != NO_EPOCH:
                    quick.rd_kafka_topic_partition_set_leader_epoch(entry, position.leader_epoch)
            code = self._library.waiting.rd_kafka_assign(self.address, partitions)
        finally:
            quick.rd_kafka_topic_partition_list_destroy(partitions)
        if code:
            raise RuntimeError(f"librdkafka refused the assignment of {topic}: error {code}")

    def faults(self, timeout_seconds: float = 0.0) -> Iterator[Fault]:
        """What the client met since the last call; its log lines go to Python's logging on the way."""
        while self._partition_faults:
            yield self._partition_faults.popleft()
        timeout_ms = int(timeout_seconds * 1000)
        while event := self._next_event(timeout_ms):
            timeout_ms = 0
            try:
                kind = self._library.quick.rd_kafka_event_type(event)
                if kind == EVENT_LOG:
                    self._log(event)
                elif kind == EVENT_ERROR:
                    detail = self._library.quick.rd_kafka_event_error_string(event).decode(errors="replace")
                    yield Fault(self._library.quick.rd_kafka_event_error(event), detail)
            finally:
                self._library.quick.rd_kafka_event_destroy(event)

    def watermarks(self, topic: str, partition: int, timeout_seconds: float) -> tuple[int, int] | None:
        """Ask the partition's leader for ``(low, end)``, the end as read_committed sees it; None: no answer in time."""
        low, high = c_int64(), c_int64()
        code = self._library.waiting.rd_kafka_query_watermark_offsets(
            self.address, topic.encode(), partition, low, high, int(timeout_seconds * 1000)
        )
        return (low.value, high.value) if code == Code.NO_ERROR else None

    def _next_event(self, timeout_ms: int) -> int | None:
        polled = self._library.waiting if timeout_ms else self._library.quick
        return cast("int | None", polled.rd_kafka_queue_poll(self.main_queue, timeout_ms))

    def _log(self, event: int) -> None:
        """Log one of librdkafka's lines, whatever its severity at debug level.

        What matters comes back as an error of ours in the same words, and a broker that restarts is worth twenty of
        librdkafka's error lines a second.
        """
        facility, text, level = c_char_p(), c_char_p(), c_int()
        if self._library.quick.rd_kafka_event_log(event, facility, text, level) == 0:
            log.debug(
                "%s: %s",
                (facility.value or b"").decode(errors="replace"),
                (text.value or b"").decode(errors="replace"),
            )

    def close(self) -> None:
        """Stop fetching. Returns at once; messages that were handed over stay readable."""
        self._library.waiting.rd_kafka_consumer_close(self.address)

    def __del__(self) -> None:
        # While the interpreter goes down the operating system takes everything back, and threads cannot be started.
        if self.address is None or sys.is_finalizing():
            return
        end = (self._library.waiting, self.address, (self.consumer_queue, self.main_queue), self._callback)
        with suppress(RuntimeError):
            threading.Thread(target=_destroy, args=end, name="librdkafka-destroy", daemon=True).start()


def _destroy(library: ctypes.CDLL, address: int, queues: tuple[int, int], callback: object) -> None:
    """End a client for good; ``callback`` has to live until then."""
    for queue in queues:
        library.rd_kafka_queue_destroy(queue)
    library.rd_kafka_destroy(address)
    del callback


def _noting(faults: deque[Fault]) -> object:
    """A C callback that appends to ``faults``. It must not refer to the handle, which would then never be collected."""

    def note(_client: int, code: int, reason: bytes | None, _opaque: int | None) -> None:
        faults.append(Fault(code, (reason or b"").decode(errors="replace")))

    return ERROR_CALLBACK(note)


def _configuration(properties: Mapping[str, str]) -> int:
    """An ``rd_kafka_conf_t`` with all properties; `rd_kafka_new` takes it over."""
    quick = load().quick
    conf = cast(int, quick.rd_kafka_conf_new())
    text = ctypes.create_string_buffer(512)
    for name, value in properties.items():
        if quick.rd_kafka_conf_set(conf, name.encode(), value.encode(), text, len(text)) != Code.NO_ERROR:
            quick.rd_kafka_conf_destroy(conf)
            # librdkafka's text repeats the value.
            detail = "its value is refused" if is_secret(name) else text.value.decode(errors="replace")
            raise ConfigError(detail, key=f"kafka.properties.{name}")
    return conf
