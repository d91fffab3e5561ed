"""Dead letters that became rows in, the transaction out that adds the rows and says what became of the letters.

The pipeline's claim is the fence: of two replays one is second, and it then finds the first one's events.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from arrow_ingest.config import PipelineConfig
from arrow_ingest.errors import Replan
from arrow_ingest.lake import late_rows, letter_events
from arrow_ingest.lake.commit import append_to_history, apply_plan
from arrow_ingest.lake.ledger import LedgerRow
from arrow_ingest.lake.letter_events import LetterEvent, Place
from arrow_ingest.lake.new_rows import NewRows
from arrow_ingest.lake.schema import TablePlan
from arrow_ingest.lake.session import Lake
from arrow_ingest.lake.tables import claim
from arrow_ingest.values import CommitKind, Copies, LaneState, Point, Tally, TouchedPartition


@dataclass(frozen=True, slots=True)
class LetterReplay:
    """A `Change`: what one replay commits.

    Args:
        places: the letters that became rows, or turned out to be messages without rows.
        late: rows that came late, by table partition.
        lane: any lane of the pipeline; its generation and topic id stand in the ledger's row, which has no ranges:
            letters of several generations may come back at once, and `letter_events` says which.
    """

    commit_id: str
    config: PipelineConfig
    plan: TablePlan
    rows: NewRows
    places: tuple[Place, ...]
    tally: Tally
    copies: Copies
    late: Mapping[str, int]
    received_bytes: int
    lane: LaneState
    run_id: str

    @property
    def staged_at(self) -> datetime | None:
        """When the oldest of its files was begun."""
        return self.rows.staged_at

    def write(self, lake: Lake, committed_at: datetime, at: Callable[[Point], None]) -> tuple[TouchedPartition, ...]:
        """Claim, schema, rows, events, ledger.

        Raises:
            Replan: somebody else has replayed or given up one of the letters, or changed the table.
        """
        pipeline = self.config.name
        claim(lake, pipeline)
        at(Point.FENCED)
        if letter_events.any_resolved(lake, pipeline, self.places):
            raise Replan(f"dead letters of {pipeline} were replayed or given up by somebody else meanwhile")
        apply_plan(lake, self.config, self.plan)
        touched = self.rows.add_to(lake, self.config.lake)
        letter_events.append(
            lake,
            pipeline,
            LetterEvent.REPLAYED,
            self.places,
            commit_id=self.commit_id,
            run_id=self.run_id,
            happened_at=committed_at,
        )
        at(Point.FILES_ADDED)
        append_to_history(lake, self._ledger_row(touched, committed_at))
        late_rows.append(lake, pipeline, self.commit_id, self.late)
        at(Point.LEDGER_WRITTEN)
        return touched

    def _ledger_row(self, touched: tuple[TouchedPartition, ...], committed_at: datetime) -> LedgerRow:
        return LedgerRow(
            commit_id=self.commit_id,
            pipeline=self.config.name,
            lane=self.lane.lane,
            generation=self.lane.generation,
            topic_id=self.lane.topic_id,
            ranges=(),
            tally=self.tally,
            touched=touched,
            kind=CommitKind.REPLAY,
            run_id=self.run_id,
            committed_at=committed_at,
            bytes_received=self.received_bytes,
            bytes_copied=self.copies.copied_bytes,
            bytes_cast=self.copies.cast_bytes,
        )
