"""Rows that others deleted, written down before the snapshots that say so expire: ``arrow_ingest.removals``.

Without that, `verify` could not tell a deletion from a loss once time travel no longer reaches it. One row per snapshot
and pipeline, by ranges of offsets: rolling the ledger up changes nothing of them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from arrow_ingest.lake.ledger import LedgerEntry
from arrow_ingest.lake.own_tables import has_own
from arrow_ingest.lake.schema import Column
from arrow_ingest.lake.session import Lake
from arrow_ingest.lake.sql import create_table, insert, own, select_columns
from arrow_ingest.values import OffsetRange

REMOVALS = own("removals")

COLUMNS = (
    Column("pipeline", "VARCHAR"),
    Column("snapshot", "BIGINT"),
    Column("author", "VARCHAR"),
    Column("deleted_at", "TIMESTAMP WITH TIME ZONE"),
    Column(
        "removed",
        'STRUCT("generation" INTEGER, "partition" INTEGER, "start" BIGINT, "stop" BIGINT, "rows" BIGINT)[]',
    ),
)


@dataclass(frozen=True, slots=True)
class RemovedRows:
    """How many rows of a range of offsets were deleted."""

    generation: int
    offsets: OffsetRange
    rows: int


@dataclass(frozen=True, slots=True)
class Removal:
    """What one snapshot deleted.

    Args:
        author: who wrote the snapshot, and ``deleted_at`` when; None: not looked up.
    """

    snapshot_id: int
    removed: tuple[RemovedRows, ...]
    author: str | None = None
    deleted_at: datetime | None = None

    def __str__(self) -> str:
        at = "" if self.deleted_at is None else f", {self.deleted_at:%Y-%m-%d %H:%M} UTC"
        return f"snapshot {self.snapshot_id} ({self.author or 'somebody'}{at}; expired since)"

    def rows_of(self, commit: LedgerEntry) -> int:
        """Deleted rows that came with a commit.

        A row of the ledger grows by being rolled up, and never shrinks, so a range lies within one of its ranges.
        """
        return sum(
            part.rows
            for part in self.removed
            if part.generation == commit.generation and any(holds(whole, part.offsets) for whole in commit.ranges)
        )


def read(lake: Lake, pipeline: str) -> tuple[Removal, ...]:
    """All that was written down of a pipeline, ascending by snapshot."""
    if not has_own(lake, "removals"):
        return ()
    rows = lake.execute(
        f"SELECT {select_columns(COLUMNS)} FROM {REMOVALS} WHERE pipeline = ? ORDER BY snapshot", [pipeline]
    )
    return tuple(
        Removal(
            snapshot,
            tuple(
                RemovedRows(
                    part["generation"], OffsetRange(part["partition"], part["start"], part["stop"]), part["rows"]
                )
                for part in removed
            ),
            author,
            deleted_at,
        )
        for _, snapshot, author, deleted_at, removed in rows
    )


def note(lake: Lake, pipeline: str, found: Iterable[Removal]) -> None:
    """Write down what is not written down yet; the caller's transaction is open."""
    known = {removal.snapshot_id for removal in read(lake, pipeline)}
    new = [removal for removal in found if removal.snapshot_id not in known]
    if new and not has_own(lake, "removals"):
        lake.execute(create_table(REMOVALS, COLUMNS))
    for removal in new:
        parts = [
            {
                "generation": part.generation,
                "partition": part.offsets.partition,
                "start": part.offsets.start,
                "stop": part.offsets.stop,
                "rows": part.rows,
            }
            for part in removal.removed
        ]
        values = (pipeline, removal.snapshot_id, removal.author, removal.deleted_at, parts)
        lake.execute(insert(REMOVALS, COLUMNS), values)


def holds(whole: OffsetRange, part: OffsetRange) -> bool:
    """Whether a range lies within another one."""
    return whole.partition == part.partition and whole.start <= part.start and part.stop <= whole.stop
