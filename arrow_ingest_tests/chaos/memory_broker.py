"""A topic in memory: records, holes and ends; it can be cut at both ends, grow partitions, and be made again."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pyarrow as pa

from arrow_ingest.errors import BrokerUnavailable
from arrow_ingest.kafka.guard import outside
from arrow_ingest.kafka.message import EndOfPartition
from arrow_ingest.values import TopicState
from arrow_ingest_tests.arrow_payloads import stream_of

TOPIC = "topic-a"


@dataclass(frozen=True, slots=True)
class MemoryRecord:
    """A record, as much of a `Message` as a micro-batch asks for.

    Args:
        rows: what its payload holds; None: nothing that can become rows.
    """

    partition: int
    offset: int
    rows: tuple[int, ...] | None
    payload: pa.Buffer
    leader_epoch: int = 0
    timestamp_ms: int | None = 1_793_757_600_000

    def key(self) -> bytes | None:
        return None

    def headers(self) -> tuple[tuple[str, bytes | None], ...]:
        return ()


@dataclass(slots=True)
class Log:
    """One partition: records by offset; None is a hole, as a control, aborted or compacted record leaves it."""

    records: list[MemoryRecord | None] = field(default_factory=list)
    low: int = 0


class MemoryBroker:
    """One topic and all that were called like it before: ``logs[topic id][partition]`` are never forgotten."""

    def __init__(self, partitions: int) -> None:
        self._numbers = iter(range(1_000_000))
        self.logs: dict[str, dict[int, Log]] = {}
        self.is_down = False
        self.make_again(partitions)

    def make_again(self, partitions: int) -> None:
        """A new topic of the same name."""
        self._topic_id = f"topic-id-{len(self.logs)}"
        self.logs[self._topic_id] = {partition: Log() for partition in range(partitions)}

    @property
    def now(self) -> dict[int, Log]:
        """The topic's partitions at present."""
        return self.logs[self._topic_id]

    def append(self, partition: int, rows: int | None, *, is_wide: bool) -> None:
        """A record of so many rows, each with a number of its own; None: of bytes that are no rows."""
        log = self.now[partition]
        numbers = None if rows is None else tuple(next(self._numbers) for _ in range(rows))
        columns = {"n": pa.array(numbers or [], pa.int64())}
        if is_wide:
            columns["extra"] = pa.array(["x"] * len(numbers or ()), pa.string())
        payload = pa.py_buffer(b"not arrow") if numbers is None else stream_of(pa.table(columns))
        log.records.append(MemoryRecord(partition, len(log.records), numbers, payload))

    def add_hole(self, partition: int) -> None:
        self.now[partition].records.append(None)

    def add_partition(self) -> None:
        self.now[len(self.now)] = Log()

    def cut_start(self, partition: int, records: int) -> None:
        """Retention removes the oldest records."""
        log = self.now[partition]
        log.low = min(len(log.records), log.low + records)

    def fetch(self, partition: int, offset: int) -> Iterator[MemoryRecord | EndOfPartition]:
        """What lies behind an offset, up to the end.

        Raises:
            LaneSuspended: the offset is in no log, as the consumer's guard says it.
        """
        log = self.now[partition]
        if incident := outside(TOPIC, partition, offset, (log.low, len(log.records))):
            raise incident
        yield from (record for record in log.records[offset:] if record is not None)
        yield EndOfPartition(partition, len(log.records))

    # What a run asks of a `Cluster`.

    def topic_state(self) -> TopicState:
        self._answer()
        return TopicState(
            TOPIC,
            self._topic_id,
            low={partition: log.low for partition, log in self.now.items()},
            high={partition: len(log.records) for partition, log in self.now.items()},
        )

    def topic_id(self) -> str:
        self._answer()
        return self._topic_id

    def _answer(self) -> None:
        if self.is_down:
            raise BrokerUnavailable("memory", "asking", "down")
