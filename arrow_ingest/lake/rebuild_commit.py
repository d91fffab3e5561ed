"""The replacement of a table partition in, the transaction out that puts it in place of what was there.

Its fence is threefold: the row of every lane is as it was, so that no offset has moved; the pipeline's claim; and no
snapshot has touched the table since its rows were read, which holds for writers who know nothing of lanes as well.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from arrow_ingest.config import PipelineConfig
from arrow_ingest.errors import Replan
from arrow_ingest.lake import ledger
from arrow_ingest.lake.commit import append_to_history, apply_plan
from arrow_ingest.lake.lanes import move_lane
from arrow_ingest.lake.ledger import LedgerRow, PartitionTotal
from arrow_ingest.lake.new_rows import StagedRows
from arrow_ingest.lake.schema import TablePlan
from arrow_ingest.lake.session import Lake
from arrow_ingest.lake.table_partition import TablePartition, is_changed_since
from arrow_ingest.lake.tables import claim
from arrow_ingest.values import CommitKind, Copies, LaneState, Point, Tally, TouchedPartition


@dataclass(frozen=True, slots=True)
class PartitionRebuild:
    """A `Change`: what one rebuild commits.

    Args:
        snapshot: of which the ledger and the rows that stay were read.
        lanes: all lanes of the pipeline, as they were then.
    """

    commit_id: str
    config: PipelineConfig
    plan: TablePlan
    partition: TablePartition
    rows: StagedRows
    snapshot: int
    lanes: tuple[LaneState, ...]
    received_bytes: int
    copies: Copies
    run_id: str

    @property
    def staged_at(self) -> datetime | None:
        """When the oldest of its files was begun."""
        return self.rows.staged_at

    def write(self, lake: Lake, committed_at: datetime, at: Callable[[Point], None]) -> tuple[TouchedPartition, ...]:
        """Fence, schema, the old rows out, the new files in, ledger.

        Raises:
            LaneFenced: a lane has moved on.
            Replan: somebody has changed the table.
            RebuildRefused: its files cannot be replaced as a whole.
        """
        for lane in self.lanes:
            move_lane(lake, lane, lane)
        claim(lake, self.config.name)
        at(Point.FENCED)
        if is_changed_since(lake, self.config, self.snapshot):
            raise Replan(f"table {self.partition.table} was written to since the rebuild began")
        apply_plan(lake, self.config, self.plan)
        self.partition.drop(lake)
        touched = self.rows.add_to(lake, self.config.lake)
        at(Point.FILES_ADDED)
        known = ledger.partition_totals(lake, self.config.name, [self.partition.key])
        append_to_history(lake, self._ledger_row(touched, known.get(self.partition.key), committed_at))
        at(Point.LEDGER_WRITTEN)
        return touched

    def _ledger_row(
        self, touched: tuple[TouchedPartition, ...], known: PartitionTotal | None, committed_at: datetime
    ) -> LedgerRow:
        """It adds no row and reads no offset; files and bytes are set right, whatever was merged before."""
        files = sum(part.files for part in touched) - (known.files if known else 0)
        size_bytes = sum(part.size_bytes for part in touched) - (known.size_bytes if known else 0)
        return LedgerRow(
            commit_id=self.commit_id,
            pipeline=self.config.name,
            lane=self.lanes[0].lane,
            generation=self.lanes[0].generation,
            topic_id=self.lanes[0].topic_id,
            ranges=(),
            tally=Tally(),
            touched=(TouchedPartition(self.partition.key, 0, files, size_bytes),),
            kind=CommitKind.REBUILD,
            run_id=self.run_id,
            committed_at=committed_at,
            bytes_received=self.received_bytes,
            bytes_copied=self.copies.copied_bytes,
            bytes_cast=self.copies.cast_bytes,
        )
