"""Our own small tables, whose rows are updated again and again, made anew: expiry alone keeps their dead versions.

A rotation first UPDATEs the rows that it copies, under the lane's lock: a commit between its read and its COMMIT would
be undone without a word otherwise (FACTS).
"""

from collections.abc import Sequence
from functools import partial

from arrow_ingest.errors import CommitConflict, LaneBusy
from arrow_ingest.lake import lanes, tables
from arrow_ingest.lake.lock_wait import waited_for
from arrow_ingest.lake.maintenance.report import Outcome, StepReport
from arrow_ingest.lake.maintenance.work import Work
from arrow_ingest.lake.schema import Column
from arrow_ingest.lake.session import Lake
from arrow_ingest.lake.sql import OWN_SCHEMA, create_table, own, quoted, select_columns
from arrow_ingest.lake.statistics import METADATA

_INLINED = f"""
SELECT i.table_name FROM {METADATA}.ducklake_inlined_data_tables i
JOIN {METADATA}.ducklake_table t USING (table_id) JOIN {METADATA}.ducklake_schema s USING (schema_id)
WHERE s.schema_name = ? AND t.table_name = ? AND t.end_snapshot IS NULL AND s.end_snapshot IS NULL
"""


def dead_versions(lake: Lake, table: str) -> int:
    """How many versions of rows one of our own tables holds that no longer count."""
    names = lake.execute(_INLINED, [OWN_SCHEMA, table])
    counts = [
        lake.execute(f"SELECT count(*) FROM {METADATA}.{quoted(name)} WHERE end_snapshot IS NOT NULL")
        for (name,) in names
    ]
    return sum(int(count) for ((count,),) in counts)


def rotate(work: Work) -> StepReport:
    """Rotate what has more dead versions than `rotate_after`; lanes that are busy all the time wait for the next run.

    Raises:
        LaneLockLost, CatalogUnavailable, CommitConflict: what was rotated before stays so.
    """
    lake, pipeline = work.lake, work.config.name
    dead = {number: dead_versions(lake, f"lanes_{pipeline}_{number}") for number in lanes.lane_numbers(lake, pipeline)}
    due = [number for number, count in dead.items() if count >= work.settings.rotate_after]
    of_pipelines = dead_versions(lake, "pipelines")
    is_pipelines_due = of_pipelines >= work.settings.rotate_after
    versions = sum(dead[number] for number in due) + is_pipelines_due * of_pipelines
    numbers = {"tables": len(due) + is_pipelines_due, "dead_versions": versions}
    if not numbers["tables"]:
        return StepReport(work.step, Outcome.NOTHING, f"{sum(dead.values())} dead versions are few", numbers)
    if work.is_dry_run:
        says = f"{numbers['tables']} tables with {versions} dead versions would be made anew"
        return StepReport(work.step, Outcome.PLANNED, says, numbers)
    if is_pipelines_due:
        work.write(lambda: _made_anew(work, "pipelines", tables.PIPELINE_COLUMNS, touched="created_at"))
    busy = [number for number in due if not _rotate_lane(work, number)]
    numbers["tables"] -= len(busy)
    says = f"{numbers['tables']} tables were made anew, without {versions - sum(dead[n] for n in busy)} dead versions"
    if busy:
        listed = ", ".join(map(str, busy))
        return StepReport(work.step, Outcome.POSTPONED, f"{says}; lanes {listed} were busy all the time", numbers)
    return StepReport(work.step, Outcome.DONE, says, numbers)


def _rotate_lane(work: Work, lane: int) -> bool:
    """Make a lane's table anew under its lock; False: a run held it, or one without it came first, all the time."""
    take = partial(work.lake.catalog.lane_lock, work.config.name, lane, holder=work.run_id)
    table = f"lanes_{work.config.name}_{lane}"
    try:
        with waited_for(take, deadline=work.lock_deadline()) as held:
            held.check()
            work.write(lambda: _made_anew(work, table, lanes.COLUMNS, touched="updated_at"))
    except (LaneBusy, CommitConflict):
        return False
    return True


def _made_anew(work: Work, table: str, columns: Sequence[Column], *, touched: str) -> None:
    """A new table of the same rows under the same name, in the open transaction.

    Args:
        touched: a column; setting it to itself makes every concurrent change of a row a conflict.
    """
    lake, new = work.lake, f"{table}__new"
    lake.execute(f"UPDATE {own(table)} SET {quoted(touched)} = {quoted(touched)}")
    lake.execute(create_table(own(new), columns))
    names = select_columns(columns)
    lake.execute(f"INSERT INTO {own(new)} ({names}) SELECT {names} FROM {own(table)}")
    lake.execute(f"DROP TABLE {own(table)}")
    lake.execute(f"ALTER TABLE {own(new)} RENAME TO {quoted(table)}")
    work.sign(f"rotate {table}")
