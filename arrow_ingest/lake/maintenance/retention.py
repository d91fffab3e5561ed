"""How long each pipeline of a lake wants snapshots kept: ``arrow_ingest.retention``, written by its maintenance.

Snapshots are the whole lake's, and each pipeline's YAML knows of itself only. A pipeline has its say once it was
maintained for the first time.
"""

from dataclasses import dataclass

from arrow_ingest.lake.maintenance.work import Work
from arrow_ingest.lake.own_tables import has_own
from arrow_ingest.lake.schema import Column
from arrow_ingest.lake.sql import create_table, insert, own

RETENTION = own("retention")
COLUMNS = (Column("pipeline", "VARCHAR"), Column("keep_days", "DOUBLE"), Column("keep_count", "BIGINT"))


@dataclass(frozen=True, slots=True)
class Kept:
    """Snapshots of ``keep_days`` or younger, and the newest ``keep_count``, are kept."""

    keep_days: float
    keep_count: int


def of_the_lake(work: Work) -> Kept:
    """What the pipeline that keeps most keeps; on the way ours is written down, unless it is a dry run."""
    ours = Kept(work.settings.snapshots.keep_days, work.settings.snapshots.keep_count)
    held = _read(work)
    if held.get(work.config.name) != ours and not work.is_dry_run:
        work.write(lambda: _write(work, ours))
    wanted = [*held.values(), ours] if work.config.name not in held else [*(held | {work.config.name: ours}).values()]
    return Kept(max(kept.keep_days for kept in wanted), max(kept.keep_count for kept in wanted))


def _read(work: Work) -> dict[str, Kept]:
    if not has_own(work.lake, "retention"):
        return {}
    rows = work.lake.execute(f"SELECT pipeline, keep_days, keep_count FROM {RETENTION}")
    return {pipeline: Kept(days, count) for pipeline, days, count in rows}


def _write(work: Work, ours: Kept) -> None:
    if not has_own(work.lake, "retention"):
        work.lake.execute(create_table(RETENTION, COLUMNS))
    values = [ours.keep_days, ours.keep_count, work.config.name]
    changed = work.lake.execute(f"UPDATE {RETENTION} SET keep_days = ?, keep_count = ? WHERE pipeline = ?", values)
    if changed != [(1,)]:
        work.lake.execute(insert(RETENTION, COLUMNS), [work.config.name, ours.keep_days, ours.keep_count])
    work.sign("say how long snapshots are kept")
