"""The micro-batch being filled: messages in, rows staged, dead letters kept, positions moved on."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

import pyarrow as pa

from arrow_ingest.config import PipelineConfig
from arrow_ingest.ipc.decode import Decoded, decode
from arrow_ingest.kafka.message import EndOfPartition, Message
from arrow_ingest.lake.conform import Stamp, conform
from arrow_ingest.lake.partition import PartitionSlice, split
from arrow_ingest.lake.row_groups import try_to_write
from arrow_ingest.lake.schema import TablePlan
from arrow_ingest.lake.staging import Stager
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
    """A micro-batch to which nothing is added any more. Its staged files may still be being written.

    Args:
        before: the lane's row that the commit must find (the fence).
        after: the row that it writes.
        opened_at: `time.monotonic` seconds of the first message.
    """

    commit_id: str
    before: LaneState
    after: LaneState
    plan: TablePlan
    stager: Stager
    letters: tuple[DeadLetter, ...]
    ranges: tuple[OffsetRange, ...]
    tally: Tally
    copies: Copies
    received_bytes: int
    opened_at: float


class OpenBatch:
    """Fills one micro-batch. A message is all rows or one dead letter, never a part of its rows.

    Args:
        before: the lane's row in the lake when this micro-batch is committed.
        start: where it begins to read; differs from ``before`` by partitions that were added to the topic.
        suspects: ``(partition, offset)`` of messages that took part in a failed write; each is tried alone.
    """

    def __init__(
        self,
        config: PipelineConfig,
        *,
        commit_id: str,
        before: LaneState,
        start: LaneState,
        plan: TablePlan,
        stager: Stager,
        inserted_at: datetime,
        suspects: frozenset[tuple[int, int]] = frozenset(),
    ) -> None:
        self._config = config
        self._commit_id = commit_id
        self._before = before
        self._start = start
        self._positions = dict(start.positions)
        self._plan = plan
        self._stager = stager
        self._inserted_at = inserted_at
        self._suspects = suspects
        self._letters: list[DeadLetter] = []
        self._copies = Copies()
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
            stager=self._stager,
            letters=tuple(self._letters),
            ranges=ranges_between(self._start.offsets, after.offsets),
            tally=self.tally,
            copies=self._copies,
            received_bytes=self.received_bytes,
            opened_at=self.opened_at,
        )

    def _move(self, partition: int, position: Position, now: float) -> None:
        if self.opened_at is None:
            self.opened_at = now
        self._positions[partition] = position

    def _stage(self, message: Message) -> Rejection | None:
        plan = self._plan

        def accept(schema: pa.Schema) -> Rejection | None:
            nonlocal plan
            extended = self._plan.extend(schema)
            if isinstance(extended, Rejection):
                return extended
            plan = extended
            return None

        decoded = decode(message.payload, self._config.limits, accept)
        if isinstance(decoded, Rejection):
            return decoded
        slices = self._conform(message, decoded, plan)
        if isinstance(slices, Rejection):
            return slices
        self._plan = plan
        for piece in slices:
            self._stager.append(piece, source=(message.partition, message.offset))
        self._rows += decoded.rows
        self._empty += decoded.rows == 0
        return None

    def _conform(self, message: Message, decoded: Decoded, plan: TablePlan) -> Rejection | tuple[PartitionSlice, ...]:
        stamp = Stamp(
            generation=self._start.generation,
            partition=message.partition,
            offset=message.offset,
            timestamp_ms=message.timestamp_ms,
            inserted_at=self._inserted_at,
        )
        rows: list[pa.RecordBatch] = []
        copies, nulled, first_row = decoded.copies, 0, 0
        for batch in decoded.batches:
            conformed = conform(batch, plan, stamp, first_row=first_row)
            if isinstance(conformed, Rejection):
                return conformed
            rows.append(conformed.batch)
            copies, nulled = copies + conformed.copies, nulled + conformed.nulled
            first_row += batch.num_rows
        parted = split(rows, self._config.partition_by, self._config.limits)
        if isinstance(parted, Rejection):
            return parted
        if (message.partition, message.offset) in self._suspects:
            refused = self._try_alone(parted.slices)
            if refused is not None:
                return refused
        self._copies += copies + parted.copies
        self._nulled += nulled
        return parted.slices

    def _try_alone(self, slices: Iterable[PartitionSlice]) -> Rejection | None:
        outcomes = (try_to_write(piece.rows, self._config.parquet) for piece in slices)
        return next((outcome for outcome in outcomes if outcome is not None), None)

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
