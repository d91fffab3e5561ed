"""Snapshots that nobody is to travel to any more, expired; what others deleted in them is written down first."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from arrow_ingest.lake import ledger, removals
from arrow_ingest.lake.accounting import deleted
from arrow_ingest.lake.commit_offsets import CommitOffsets
from arrow_ingest.lake.letter_events import read_spans
from arrow_ingest.lake.maintenance import retention
from arrow_ingest.lake.maintenance.report import Outcome, StepReport
from arrow_ingest.lake.maintenance.work import Work
from arrow_ingest.lake.removals import Removal
from arrow_ingest.lake.sql import LAKE
from arrow_ingest.lake.tables import PIPELINES, read_table_schema

CHUNK = 2_000
"""Snapshots that one transaction expires."""

_DELETING = """
SELECT snapshot_id, author, snapshot_time FROM ducklake_snapshots(?)
WHERE snapshot_id BETWEEN ? AND ? AND len(coalesce(changes['tables_deleted_from'], [])) > 0
ORDER BY snapshot_id
"""


def expire(work: Work) -> StepReport:
    """Expire what is older than every pipeline of the lake keeps, oldest first.

    Raises:
        LaneLockLost, CatalogUnavailable, CommitConflict: what expired before is gone.
    """
    snapshots = work.lake.execute("SELECT snapshot_id, snapshot_time FROM ducklake_snapshots(?) ORDER BY 1", [LAKE])
    kept = retention.of_the_lake(work)
    ids = to_expire(snapshots, work.now, keep_for=timedelta(days=kept.keep_days), keep_count=kept.keep_count)
    if not ids:
        says = f"{len(snapshots)} snapshots are kept"
        return StepReport(work.step, Outcome.NOTHING, says, {"snapshots": 0})
    if work.is_dry_run:
        says = f"{len(ids)} of {len(snapshots)} snapshots would expire"
        return StepReport(work.step, Outcome.PLANNED, says, {"snapshots": len(ids)})
    expired = 0
    for start in range(0, len(ids), CHUNK):
        if not work.has_time:
            break
        chunk = ids[start : start + CHUNK]
        found = _removals(work, chunk)
        work.write(partial(_expire, work, chunk, found))
        expired += len(chunk)
    says = f"{expired} of {len(snapshots)} snapshots expired"
    outcome = Outcome.DONE if expired == len(ids) else Outcome.POSTPONED
    return StepReport(work.step, outcome, says, {"snapshots": expired})


def to_expire(
    snapshots: Sequence[tuple[int, datetime]], now: datetime, *, keep_for: timedelta, keep_count: int
) -> list[int]:
    """The snapshots, ascending by id, that are neither young nor among the newest. One is always kept.

    >>> from datetime import UTC
    >>> days = [(day, datetime(2026, 11, day, tzinfo=UTC)) for day in range(1, 10)]
    >>> now = datetime(2026, 11, 9, tzinfo=UTC)
    >>> to_expire(days, now, keep_for=timedelta(days=5), keep_count=2)
    [1, 2, 3]
    >>> to_expire(days, now, keep_for=timedelta(days=5), keep_count=8)
    [1]
    """
    old = snapshots[: max(0, len(snapshots) - max(1, keep_count))]
    return [number for number, at in old if now - at > keep_for]


def _expire(work: Work, ids: Sequence[int], found: Iterable[tuple[str, Sequence[Removal]]]) -> None:
    for pipeline, removed in found:
        if removed:
            removals.note(work.lake, pipeline, removed)
            work.sign("write down what others deleted")
    rows = work.lake.execute("SELECT snapshot_id FROM ducklake_snapshots(?) WHERE snapshot_id IN ?", [LAKE, list(ids)])
    if rows:  # none, when an attempt whose answer was lost had expired them
        work.lake.execute(f"CALL ducklake_expire_snapshots('{LAKE}', versions => ?)", [[number for (number,) in rows]])


def _removals(work: Work, ids: Sequence[int]) -> list[tuple[str, Sequence[Removal]]]:
    """What others deleted in these snapshots, by pipeline: of every one, since all of them share the snapshots."""
    lake = work.lake
    deleting = {number: (author, at) for number, author, at in lake.execute(_DELETING, [LAKE, ids[0], ids[-1]])}
    if not deleting:
        return []
    found: list[tuple[str, Sequence[Removal]]] = []
    for pipeline, schema, table in lake.execute(f"SELECT pipeline, schema_name, table_name FROM {PIPELINES}"):
        place = work.config.lake.model_copy(update={"schema_name": schema, "table": table})
        if read_table_schema(lake, place) is None:
            continue
        commits = ledger.commits_since(lake, pipeline, 0)
        offsets = CommitOffsets(read_spans(lake, pipeline))
        gone = deleted(lake, place, commits, offsets, oldest=min(deleting), newest=max(deleting))
        named = [
            replace(removal, author=deleting[removal.snapshot_id][0], deleted_at=deleting[removal.snapshot_id][1])
            for removal in gone
            if removal.snapshot_id in deleting
        ]
        found.append((pipeline, named))
    return found
