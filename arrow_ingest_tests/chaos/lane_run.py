"""One run of a lane over the broker and the lake in memory: the project's own parts, in the order of a pass.

Its own are `begin`, `OpenBatch`, `LaneCommitter`, `Committer`, `suspend_or_rebase` and what these call. What a drain
does besides (threads, fetching, files) is left out, and its three lines that hand micro-batches over are repeated here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pyarrow as pa

from arrow_ingest.config import PipelineConfig
from arrow_ingest.errors import LaneSuspended, Replan
from arrow_ingest.kafka.message import EndOfPartition
from arrow_ingest.lake.commit import Committer
from arrow_ingest.lake.new_rows import StagedRows
from arrow_ingest.lake.partition import PartitionSlice
from arrow_ingest.lake.schema import TablePlan
from arrow_ingest.lake.session import Lake
from arrow_ingest.pipeline.lane_committer import LaneCommitter
from arrow_ingest.pipeline.open_batch import OpenBatch, SealedBatch
from arrow_ingest.pipeline.start import begin, suspend_or_rebase
from arrow_ingest.values import LaneState, Receipt, StagedFile, ignore
from arrow_ingest_tests.chaos.memory_broker import MemoryBroker
from arrow_ingest_tests.chaos.memory_lake import MemoryCatalog

LANE = 0


@dataclass
class World:
    """Broker, catalog and store, and what runs have told of them.

    Args:
        waits: what happens while a run waits before it tries again.
    """

    config: PipelineConfig
    broker: MemoryBroker = field(default_factory=lambda: MemoryBroker(partitions=2))
    catalog: MemoryCatalog = field(default_factory=MemoryCatalog)
    receipts: list[Receipt] = field(default_factory=list)
    commit_numbers: Any = field(default_factory=lambda: iter(range(1_000_000)))
    first_offsets: dict[tuple[int, int], int] = field(default_factory=dict)

    def remember_first(self, lane: LaneState) -> None:
        """Where a generation begins to read each partition, as it is first seen."""
        for partition, position in lane.positions.items():
            self.first_offsets.setdefault((lane.generation, partition), position.offset)

    def waits(self, _: float) -> None:
        """A COMMIT that was on its way may have arrived by then: every other time it has."""
        if self.catalog.delayed and self.catalog.statement % 2:
            self.catalog.land_delayed()


class MemorySink:
    """Rows of one micro-batch, which become one staged file in memory."""

    def __init__(self, catalog: MemoryCatalog, commit_id: str, staged_at: datetime) -> None:
        self._catalog = catalog
        self._path = f"memory/{commit_id}.parquet"
        self._staged_at = staged_at
        self._rows: list[pa.RecordBatch] = []
        self.buffered_bytes = 0
        self.is_draining = False

    def append(self, piece: PartitionSlice, source: tuple[int, int]) -> None:  # noqa: ARG002
        self._rows.append(piece.rows)

    def wait_for_progress(self, timeout_seconds: float) -> None:  # noqa: ARG002
        return

    def finish(self) -> StagedRows:
        if not self._rows:
            return StagedRows(())
        table = pa.concat_tables([pa.Table.from_batches([rows]) for rows in self._rows], promote_options="default")
        self._catalog.files[self._path] = table
        return StagedRows((StagedFile(self._path, None, table.num_rows, table.nbytes, self._staged_at),))

    def abandon(self) -> None:
        return


class _Held:
    """A lane lock that never fails and excludes nobody: two runs of one lane are what is tried here."""

    def check(self) -> None:
        return


class _UnmirroredCommitter(LaneCommitter):
    """Commits over a lake in memory; the offsets' copy for monitors is left out."""

    def __init__(self, world: World, lake: Lake, *, run_id: str) -> None:
        broker: Any = world.broker
        super().__init__(world.config, lake, run_id=run_id, cluster=broker, lane_lock=_Held(), at=ignore)
        opens = world.catalog.session
        self._committer = Committer(world.config.lake, _Held(), session=lake, opens=opens, waits=world.waits)

    def mirror(self, offsets: Mapping[int, int]) -> None:  # noqa: ARG002
        return


class LaneRun:
    """A run, from its first look at the lake to its end."""

    def __init__(self, world: World, run_id: str) -> None:
        self._world = world
        self.run_id = run_id
        self.begin()

    def begin(self) -> None:
        """A pass from the stored offsets on.

        Raises:
            LaneSuspended: the lane does not go on by itself.
        """
        world = self._world
        broker: Any = world.broker
        lake = world.catalog.session()
        start = begin(world.config, LANE, lake, broker, run_id=self.run_id)
        self._committer = _UnmirroredCommitter(world, lake, run_id=self.run_id)
        world.remember_first(start.state)
        self.topic_id = start.state.topic_id
        self.sealed: list[SealedBatch] = []
        self._positions = start.state.offsets
        self._open = self._new_batch(start.stored, start.state, start.plan)

    def read(self, partition: int, most: int) -> None:
        """Take records of one partition, and its end if it comes so far."""
        partition = sorted(self._positions)[partition % len(self._positions)]
        events = self._world.broker.fetch(partition, self._positions[partition])
        for event, _ in zip(events, range(most), strict=False):
            if isinstance(event, EndOfPartition):
                self._open.reach_end(event, now=0.0)
                self._positions[partition] = event.offset
            else:
                self._open.add(event, now=0.0)  # type: ignore[arg-type]
                self._positions[partition] = event.offset + 1

    @property
    def is_at_end(self) -> bool:
        """Whether it has read all that the broker holds."""
        return self._positions == {part: len(log.records) for part, log in self._world.broker.now.items()}

    def read_all(self) -> None:
        """To the end of the log."""
        for partition in range(len(self._positions)):
            self.read(partition, 1_000_000)

    def fill(self) -> None:
        """Have something to commit, if there is anything to read."""
        if not self.sealed:
            self.read_all()
            self.seal()

    def seal(self, *, age: timedelta = timedelta()) -> None:
        """Close the open micro-batch, as `LogPass` does it, and open the next one behind it.

        Args:
            age: of the next one's files when they are staged.
        """
        if (sealed := self._open.seal()) is not None:
            self.sealed.append(sealed)
            self._open = self._new_batch(sealed.after, sealed.after, sealed.plan.committed(), age)

    def commit(self) -> None:
        """Make the oldest sealed micro-batch a snapshot; one that has to be staged again begins a new pass.

        Raises:
            ArrowIngestError, Crash: the run has ended.
        """
        if not self.sealed:
            return
        try:
            self._world.receipts.append(self._committer.commit(self.sealed.pop(0)))
        except Replan:
            self.begin()

    def suspend(self, incident: LaneSuspended) -> None:
        """What a drain does with an incident.

        Raises:
            LaneSuspended: ``incident``, unless the YAML has it go on in a new generation.
        """
        broker: Any = self._world.broker
        lake = self._world.catalog.session()
        suspend_or_rebase(self._world.config, LANE, lake, broker, incident, run_id=self.run_id)
        self.begin()

    def _new_batch(
        self, before: LaneState, start: LaneState, plan: TablePlan, age: timedelta = timedelta()
    ) -> OpenBatch:
        commit_id = str(UUID(int=next(self._world.commit_numbers)))
        now = datetime.now(UTC)
        return OpenBatch(
            self._world.config,
            commit_id=commit_id,
            before=before,
            start=start,
            plan=plan,
            sink=MemorySink(self._world.catalog, commit_id, now - age),
            inserted_at=now,
        )
