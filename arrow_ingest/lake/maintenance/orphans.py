"""Staged files that never became part of a snapshot, removed by their age and by names that are our own.

A run that died between staging and its commit leaves them, and so does a merge that was cut off. What is not named as
we or DuckLake name files is nobody's business here. DuckLake's own ``delete_orphaned_files`` knows neither lanes nor
names, and is not used.
"""

import re
from collections.abc import Iterable
from datetime import timedelta
from functools import partial

from arrow_ingest.errors import LaneBusy
from arrow_ingest.lake.dead_letters import dead_letter_table
from arrow_ingest.lake.lock_wait import waited_for
from arrow_ingest.lake.maintenance.report import Outcome, StepReport
from arrow_ingest.lake.maintenance.work import Place, Work
from arrow_ingest.lake.models import state
from arrow_ingest.lake.staging import table_folder
from arrow_ingest.lake.statistics import METADATA
from arrow_ingest.values import StoredFile

_STAGED = re.compile(r"lane-(\d+)-[0-9A-Za-z-]+-\d+\.parquet")
_OURS = re.compile(
    r"maintenance-[0-9a-f-]{36}\.parquet|model-[0-9a-f-]{36}-\d+-\d+\.parquet|"
    r"ducklake-[0-9a-f-]{36}(-delete)?\.parquet"
)

_KNOWN = f"""
SELECT DISTINCT parse_filename(path) FROM (
    SELECT path FROM {METADATA}.ducklake_data_file UNION ALL
    SELECT path FROM {METADATA}.ducklake_delete_file UNION ALL
    SELECT path FROM {METADATA}.ducklake_files_scheduled_for_deletion)
"""
"""By name alone: each has a UUID in it, and one too many known only keeps a file."""


def remove_orphans(work: Work) -> StepReport:
    """Remove them, lane by lane, under each lane's lock; files of lanes that are busy all the time are kept.

    Raises:
        LaneLockLost, CatalogUnavailable: what was removed before is gone.
    """
    before = work.now - timedelta(days=work.settings.files.orphans_after_days)
    schema, table, store = work.config.lake.schema_name, work.config.lake.table, work.lake.store
    models = [(held.schema, held.table) for held in state.models_of(work.lake, work.config.name)]
    tables = [(schema, table), (schema, dead_letter_table(table)), *models]
    stored = (file for place in tables for file in store.files_below(table_folder(store, *place)))
    aged = [file for file in stored if file.modified_at < before and is_ours(file.name)]
    found = _unknown(work, aged)[: int(work.settings.files.max_files)]
    numbers = {"files": len(found), "bytes": sum(file.size_bytes for file in found)}
    if not found:
        return StepReport(work.step, Outcome.NOTHING, "there is no orphaned file", numbers)
    if work.is_dry_run:
        return StepReport(work.step, Outcome.PLANNED, f"{len(found)} files would be removed", numbers)
    by_lane: dict[int | None, list[StoredFile]] = {}
    for file in found:
        by_lane.setdefault(lane_of(file.name), []).append(file)
    kept = [file for lane, files in by_lane.items() for file in _remove(work, lane, files)]
    numbers = {
        "files": len(found) - len(kept),
        "bytes": numbers["bytes"] - sum(file.size_bytes for file in kept),
        "kept": len(kept),
    }
    if kept:
        says = f"{numbers['files']} files were removed, {len(kept)} of busy lanes kept"
        return StepReport(work.step, Outcome.POSTPONED, says, numbers)
    return StepReport(work.step, Outcome.DONE, f"{numbers['files']} files were removed", numbers)


def is_ours(name: str) -> bool:
    """Whether we, or DuckLake for us, gave a file its name.

    >>> is_ours("lane-3-0f1e-7.parquet"), is_ours("export.parquet"), is_ours("lane-3-0f1e-7.parquet.bak")
    (True, False, False)
    """
    return bool(_STAGED.fullmatch(name) or _OURS.fullmatch(name))


def lane_of(name: str) -> int | None:
    """The lane that staged a file; None: no lane did.

    >>> lane_of("lane-3-0f1e-7.parquet"), lane_of("ducklake-01a2.parquet")
    (3, None)
    """
    found = _STAGED.fullmatch(name)
    return int(found[1]) if found else None


def _unknown(work: Work, files: Iterable[StoredFile]) -> list[StoredFile]:
    """Those that the catalog does not know now: asked after they were listed, since a file may be added meanwhile."""
    known = {name for (name,) in work.lake.execute(_KNOWN)}
    return [file for file in files if file.name not in known]


def _remove(work: Work, lane: int | None, files: Iterable[StoredFile]) -> list[StoredFile]:
    """Remove a lane's files under its lock; those that were kept: all of them, while a run drains the lane."""
    if lane is None:
        _remove_unknown(work, files)
        return []
    take = partial(work.lake.catalog.lane_lock, work.config.name, lane, holder=work.run_id)
    try:
        with waited_for(take, deadline=work.lock_deadline()) as held:
            held.check()
            _remove_unknown(work, files)
    except LaneBusy:
        return list(files)
    return []


def _remove_unknown(work: Work, files: Iterable[StoredFile]) -> None:
    work.lock.check()
    for file in _unknown(work, files):
        work.at(work.step, Place.BEGUN)
        work.lake.store.remove(file.path)
        work.at(work.step, Place.WRITTEN)
