"""Files that no snapshot needs any more, removed once they are old enough for the queries that may still read them.

DuckLake deletes them before the COMMIT that forgets them. After a kill in between they are still listed, and the next
run goes over them again: a file that is missing is no error (facts pinned by a test).
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial

from arrow_ingest.lake.maintenance.report import Outcome, StepReport
from arrow_ingest.lake.maintenance.work import Work
from arrow_ingest.lake.sql import LAKE
from arrow_ingest.lake.statistics import METADATA

CHUNK = 5_000
"""Files that one transaction deletes, or as many more as were let go of at the same moment."""

_SCHEDULED = f"""
SELECT CAST(schedule_start AS TIMESTAMPTZ) AS start, count(*) FROM {METADATA}.ducklake_files_scheduled_for_deletion
WHERE start < ? GROUP BY ALL ORDER BY ALL
"""
"""SQLite keeps times as text."""


def clean_up(work: Work) -> StepReport:
    """Remove old files, the oldest first.

    Raises:
        LaneLockLost, CatalogUnavailable, CommitConflict: what was removed before is gone.
    """
    before = work.now - timedelta(days=work.settings.files.old_after_days)
    waiting = work.lake.execute(_SCHEDULED, [before])
    total = sum(count for _, count in waiting)
    if not total:
        return StepReport(work.step, Outcome.NOTHING, "no file is old enough", {"files": 0, "bytes": 0})
    most = int(work.settings.files.max_files)
    if work.is_dry_run:
        size_bytes = _bytes(work, _listed(work, before))
        says = f"{min(total, most)} files would be removed"
        return StepReport(work.step, Outcome.PLANNED, says, {"files": min(total, most), "bytes": size_bytes})
    files = freed = 0
    for cut in cuts(waiting, CHUNK, before):
        if not work.has_time or files >= most:
            break
        paths = _listed(work, cut)
        freed += _bytes(work, paths)
        work.write(partial(work.execute, f"CALL ducklake_cleanup_old_files('{LAKE}', older_than => ?)", [cut]))
        files += len(paths)
    outcome = Outcome.DONE if files >= total else Outcome.POSTPONED
    return StepReport(work.step, outcome, f"{files} of {total} files were removed", {"files": files, "bytes": freed})


def cuts(waiting: Sequence[tuple[datetime, int]], chunk: int, end: datetime) -> list[datetime]:
    """Times, ascending: between one and the next lie about ``chunk`` files; the last one is ``end``.

    >>> from datetime import UTC
    >>> hours = [(datetime(2026, 11, 4, hour, tzinfo=UTC), 40) for hour in range(4)]
    >>> [cut.hour for cut in cuts(hours, 80, datetime(2026, 11, 4, 9, tzinfo=UTC))]
    [2, 9]
    """
    found: list[datetime] = []
    held = 0
    for at, count in waiting:
        if held and held + count > chunk:
            found.append(at)
            held = 0
        held += count
    return [*found, end]


def _listed(work: Work, before: datetime) -> list[str]:
    text = f"CALL ducklake_cleanup_old_files('{LAKE}', older_than => ?, dry_run => true)"
    return [path for (path,) in work.lake.execute(text, [before])]


def _bytes(work: Work, paths: Sequence[str]) -> int:
    """Bytes of those that are there."""
    return sum(size for size in work.lake.store.sizes(paths).values() if isinstance(size, int))
