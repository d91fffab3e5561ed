"""The micro-batch being filled: messages in, rows staged, dead letters kept, positions moved on."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from arrow_ingest.config import PipelineConfig
from arrow_ingest.kafka.message import EndOfPartition, Message
from arrow_ingest.lake.conform import Stamp
from arrow_ingest.lake.new_rows import RowSink
from arrow_ingest.lake.schema import TablePlan
from arrow_ingest.pipeline.culprits import Suspects, try_alone
from arrow_ingest.pipeline.rows import rows_of
from arrow_ingest.values import (
    Copies,
    DeadLetter,
    LaneState,
    OffsetRange,
    Position,
    Rejection,
    Tally,
    ranges_between,
)


@dataclass(frozen=True, slots=True)
class SealedBatch:
    """A micro-batch to which nothing is added any more. Its rows may still be being written.

    Args:
        before: the lane's row that the commit must find (the fence).
        after: the row that it writes.
        late: rows that came late, by table partition.
        opened_at: `time.monotonic` seconds of the first message.
    """

    commit_id: str
    before: LaneState
    after: LaneState
    plan: TablePlan
    sink: RowSink
    letters: tuple[DeadLetter, ...]
    ranges: tuple[OffsetRange, ...]
    tally: Tally
    copies: Copies
    late: Mapping[str, int]
    received_bytes: int
    opened_at: float


class OpenBatch:
    """Fills one micro-batch. A message is all rows or one dead letter, never a part of its rows.

    Args:
        before: the lane's row in the lake when this micro-batch is committed.
        start: where it begins to read; differs from ``before`` by partitions that were added to the topic.
        suspects: messages to be tried alone.
    """

    def __init__(
        self,
        config: PipelineConfig,
        *,
        commit_id: str,
        before: LaneState,
        start: LaneState,
        plan: TablePlan,
        sink: RowSink,
        inserted_at: datetime,
        suspects: Suspects = frozenset(),
    ) -> None:
        self._config = config
        self._commit_id = commit_id
        self._before = before
        self._start = start
        self._positions = dict(start.positions)
        self._plan = plan
        self._sink = sink
        self._inserted_at = inserted_at
        self._suspects = suspects
        self._letters: list[DeadLetter] = []
        self._copies = Copies()
        self._late: Counter[str] = Counter()
        self._messages = self._rows = self._empty = self._nulled = 0
        self.received_bytes = 0
        self.letter_bytes = 0
        self.opened_at: float | None = None

    @property
    def tally(self) -> Tally:
        """What was added so far."""
        return Tally(self._messages, self._rows, self._empty, len(self._letters), self._nulled)

    def add(self, message: Message, *, now: float) -> None:
        """Turn one message into staged rows or a dead letter, and move its partition's position behind it."""
        self._move(message.partition, Position(message.offset + 1, message.leader_epoch), now)
        self._messages += 1
        self.received_bytes += message.payload.size if message.payload is not None else 0
        rejection = self._stage(message)
        if rejection is not None:
            self._bury(message, rejection)

    def reach_end(self, end: EndOfPartition, *, now: float) -> None:
        """Take the broker's end of the partition: behind control, aborted and compacted records (FACTS)."""
        position = self._positions[end.partition]
        if end.offset > position.offset:
            self._move(end.partition, replace(position, offset=end.offset), now)

    def is_caught_up(self, end: dict[int, int]) -> bool:
        """Whether every position has reached ``end``."""
        return all(self._positions[partition].offset >= stop for partition, stop in end.items())

    def seal(self) -> SealedBatch | None:
        """What to commit, or None when no position has moved."""
        if self.opened_at is None:
            return None
        after = replace(self._start, positions=self._positions)
        return SealedBatch(
            commit_id=self._commit_id,
            before=self._before,
            after=after,
            plan=self._plan,
            sink=self._sink,
            letters=tuple(self._letters),
            ranges=ranges_between(self._start.offsets, after.offsets),
            tally=self.tally,
            copies=self._copies,
            late=dict(self._late),
            received_bytes=self.received_bytes,
            opened_at=self.opened_at,
        )

    def _move(self, partition: int, position: Position, now: float) -> None:
        if self.opened_at is None:
            self.opened_at = now
        self._positions[partition] = position

    def _stage(self, message: Message) -> Rejection | None:
        stamp = Stamp(
            generation=self._start.generation,
            partition=message.partition,
            offset=message.offset,
            timestamp_ms=message.timestamp_ms,
            inserted_at=self._inserted_at,
            key=message.key,
            headers=message.headers,
        )
        made = rows_of(message.payload, self._config, self._plan, stamp)
        if isinstance(made, Rejection):
            return made
        source = (message.partition, message.offset)
        if source in self._suspects and (refused := try_alone(made.slices, self._config.parquet)) is not None:
            return refused
        self._plan = made.plan
        for piece in made.slices:
            self._sink.append(piece, source)
        self._rows += made.rows
        self._empty += made.rows == 0
        self._nulled += made.nulled
        self._copies += made.copies
        self._late.update(made.late)
        return None

    def _bury(self, message: Message, rejection: Rejection) -> None:
        self.letter_bytes += message.payload.size if message.payload is not None else 0
        self._letters.append(
            DeadLetter(
                generation=self._start.generation,
                partition=message.partition,
                offset=message.offset,
                timestamp_ms=message.timestamp_ms,
                key=message.key(),
                headers=message.headers(),
                payload=message.payload,
                rejection=rejection,
            )
        )
