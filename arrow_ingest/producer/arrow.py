"""Record batches and tables in, acknowledged Arrow IPC messages on a topic out."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Final, Self

import pyarrow as pa
from confluent_kafka import KafkaError, KafkaException, Producer

from arrow_ingest.errors import DeliveryFailed
from arrow_ingest.producer.streams import Compression, streams

MIB: Final = 1024 * 1024

Headers = Mapping[str, bytes | str | None] | Iterable[tuple[str, bytes | str | None]]

_RECORD_OVERHEAD_BYTES: Final = 64 * 1024
"""What librdkafka counts beside the payload: key, headers, framing."""

_DEFAULTS: Final[Mapping[str, Any]] = {
    "enable.idempotence": True,  # a retry inside librdkafka repeats nothing and keeps the order
    "allow.auto.create.topics": False,  # a misspelt topic is an error, not a new topic
    # A message is a megabyte of rows already. Alone in its Kafka record batch, its checksum covers nobody else's bytes,
    # and Tansu tells the end of the log right (behind a batch of several it names the first one's offset).
    "batch.num.messages": 1,
    "queue.buffering.max.kbytes": 128 * 1024,  # librdkafka's own 1 GiB is a lot of memory to hide in a queue
}

_ANY_PARTITION: Final = -1
"""librdkafka's ``RD_KAFKA_PARTITION_UA``: its partitioner chooses."""

_FULL_QUEUE_SECONDS: Final = 0.1
_FLUSH_SECONDS: Final = 0.5
_ABANDON_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """What the broker has confirmed so far. ``bytes`` are payload bytes."""

    messages: int = 0
    rows: int = 0
    bytes: int = 0


class ArrowProducer:
    """Sends record batches to a topic, each as one Arrow IPC stream in one message.

    A context manager: leaving it waits until everything is acknowledged, or raises. One producer serves one thread.

    ::

        with ArrowProducer("events", {"bootstrap.servers": "127.0.0.1:9092"}) as producer:
            producer.send(pa.RecordBatch.from_pydict({"n": [1, 2, 3]}))

    Args:
        topic: an existing topic.
        config: librdkafka's properties, ``bootstrap.servers`` at least. They win over the defaults made here:
            idempotence, no creation of topics, one message a record batch, and a queue of 128 MiB.
        compression: codec of the record batches' bodies. None lets the reader use the payload as it is, without a copy.
        max_message_bytes: largest payload; larger batches are cut by rows. Both the topic's ``max.message.bytes`` and
            the pipeline's ``limits.max_message_bytes`` have to allow it.
    """

    def __init__(
        self,
        topic: str,
        config: Mapping[str, Any],
        *,
        compression: Compression | None = None,
        max_message_bytes: int = 16 * MIB,
    ) -> None:
        self.topic = topic
        self._compression = compression
        self._max_message_bytes = max_message_bytes
        limit = {"message.max.bytes": max_message_bytes + _RECORD_OVERHEAD_BYTES}
        self._acknowledged = Acknowledged()
        self._failure: KafkaError | None = None
        self._producer = Producer({**_DEFAULTS, **limit, **config})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if error is None:
            self.flush()
        else:
            # The first error is what counts: give the queue a moment, then let go of it.
            self._producer.flush(_ABANDON_SECONDS)
            self._producer.purge()

    @property
    def acknowledged(self) -> Acknowledged:
        """What the broker has confirmed; moves on in `send`, `poll` and `flush`."""
        return self._acknowledged

    def send(
        self,
        data: pa.RecordBatch | pa.Table,
        *,
        key: bytes | str | None = None,
        headers: Headers | None = None,
        partition: int | None = None,
    ) -> int:
        """Hand rows over for sending; returns the number of messages that they make.

        Everything is encoded before the first message is sent, and librdkafka copies it: the data may be changed or
        dropped afterwards. Blocks while the queue is full.

        Raises:
            RowTooLarge: one row does not fit into a message; nothing of ``data`` was sent.
            DeliveryFailed: this or an earlier message could not be delivered.
        """
        table = data if isinstance(data, pa.Table) else pa.Table.from_batches([data])
        made = list(streams(table, compression=self._compression, max_bytes=self._max_message_bytes))
        for stream in made:
            self.send_payload(stream.payload, rows=stream.rows, key=key, headers=headers, partition=partition)
        return len(made)

    def send_payload(
        self,
        payload: pa.Buffer | bytes | None,
        *,
        rows: int = 0,
        key: bytes | str | None = None,
        headers: Headers | None = None,
        partition: int | None = None,
    ) -> None:
        """Hand one message over as it is, whatever its bytes are; None makes a message without a value.

        Args:
            payload: an IPC stream, unless the reader is to be tested.
            rows: what its acknowledgement counts as.
            key: the message's key.
            headers: the message's headers.
            partition: None leaves the choice to librdkafka's partitioner.

        Raises:
            DeliveryFailed: this or an earlier message could not be delivered.
        """
        size = 0 if payload is None else len(memoryview(payload))
        chosen = _ANY_PARTITION if partition is None else partition
        report = partial(self._report, rows, size)
        named = list(headers.items() if isinstance(headers, Mapping) else headers or ())
        while True:
            self.poll(0)
            try:
                self._producer.produce(self.topic, payload, key, chosen, report, headers=named)
            except BufferError:
                # Full. Every queued message is acknowledged or fails within message.timeout.ms, so this ends.
                self.poll(_FULL_QUEUE_SECONDS)
            except KafkaException as error:
                raise self._failed(error.args[0]) from error
            else:
                return

    def poll(self, timeout_seconds: float) -> None:
        """Take delivery reports, for up to ``timeout_seconds`` if there are none yet.

        Raises:
            DeliveryFailed: a message could not be delivered.
        """
        self._served(timeout_seconds, self._producer.poll)
        self._raise_failure()

    def flush(self) -> None:
        """Wait until every message is acknowledged or has failed (``message.timeout.ms``, 5 minutes by default).

        Raises:
            DeliveryFailed: a message could not be delivered.
        """
        while self._served(_FLUSH_SECONDS, self._producer.flush):  # in short steps, so that Ctrl-C is heard
            pass
        self._raise_failure()

    def _report(self, rows: int, size: int, error: KafkaError | None, _message: object) -> None:
        if error is not None:
            self._failure = self._failure or error
            return
        so_far = self._acknowledged
        self._acknowledged = Acknowledged(so_far.messages + 1, so_far.rows + rows, so_far.bytes + size)

    def _served(self, seconds: float, serve: Callable[[float], int]) -> int:
        """Take reports; what is left in the queue.

        confluent-kafka raises a fatal error as it comes, and goes on to call our reports with the exception set, which
        may even be lost there: then the first report says what it was.
        """
        try:
            return serve(seconds)
        except KafkaException as error:
            raise self._failed(error.args[0]) from error
        except SystemError as error:
            if isinstance(fatal := error.__cause__, KafkaException):
                raise self._failed(fatal.args[0]) from fatal
            self._raise_failure()
            raise

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failed(self._failure)

    def _failed(self, error: KafkaError) -> DeliveryFailed:
        return DeliveryFailed(self.topic, error.name(), error.str())
