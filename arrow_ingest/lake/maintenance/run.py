"""A pipeline's settings in, a report of one maintenance out: its steps in order, one maintenance of a lake at a time.

Each step is a few short transactions of its own, in a session of its own: a kill anywhere loses nothing, and what one
step fails in keeps the others from nothing.
"""

import logging
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from arrow_ingest.config import PipelineConfig
from arrow_ingest.errors import ArrowIngestError, CatalogUnavailable, LaneLockLost, NothingToMaintain
from arrow_ingest.lake.catalog import LaneLock, catalog_of
from arrow_ingest.lake.lock_wait import waited_for
from arrow_ingest.lake.maintenance.census import census
from arrow_ingest.lake.maintenance.expiry import expire
from arrow_ingest.lake.maintenance.letters import expire_dead_letters
from arrow_ingest.lake.maintenance.merge import merge
from arrow_ingest.lake.maintenance.old_files import clean_up
from arrow_ingest.lake.maintenance.orphans import remove_orphans
from arrow_ingest.lake.maintenance.report import Census, MaintenanceReport, Outcome, StepReport
from arrow_ingest.lake.maintenance.rewrite import rewrite
from arrow_ingest.lake.maintenance.roll_up import roll_up
from arrow_ingest.lake.maintenance.rotation import rotate
from arrow_ingest.lake.maintenance.work import Place, Work, ignore
from arrow_ingest.lake.session import open_lake
from arrow_ingest.lake.tables import is_registered
from arrow_ingest.maintenance_settings import Step

log = logging.getLogger(__name__)

THREADS = 1
"""With two, DuckLake 1.5.5 now and then writes a merged file's partition values in another order (measured)."""

_STEPS: dict[Step, Callable[[Work], StepReport]] = {
    Step.ROTATE: rotate,
    Step.ROLL_UP: roll_up,
    Step.MERGE: merge,
    Step.REWRITE: rewrite,
    Step.LETTERS: expire_dead_letters,
    Step.EXPIRE: expire,
    Step.CLEAN_UP: clean_up,
    Step.ORPHANS: remove_orphans,
}


@dataclass(frozen=True, slots=True)
class _Run:
    config: PipelineConfig
    run_id: str
    now: datetime
    is_dry_run: bool
    at: Callable[[Step, Place], None]
    deadline: float


def maintain(
    config: PipelineConfig,
    *,
    run_id: str,
    now: datetime,
    only: Iterable[Step] | None = None,
    is_dry_run: bool = False,
    at: Callable[[Step, Place], None] = ignore,
) -> MaintenanceReport:
    """Tidy up what is the pipeline's, and what is the whole lake's.

    Args:
        run_id: who does it; stands in the snapshots' commit messages and in the locks.
        now: what ages are counted to.
        only: these steps; None: those of the YAML.
        is_dry_run: say what would be done, and do nothing.
        at: called at every labelled place; tests stop the process there.

    Raises:
        MaintenanceBusy: another maintenance did not end in time.
        NothingToMaintain: there is no lake yet, or the pipeline never ran into it.
        CatalogUnavailable: the lake cannot be opened.
    """
    catalog = catalog_of(config.lake)
    if not catalog.exists():
        raise NothingToMaintain(f"{config.name} was never started: there is no lake to maintain yet")
    started = time.monotonic()
    run = _Run(config, run_id, now, is_dry_run, at, deadline=started + config.maintenance.max_seconds)
    wanted = set(config.maintenance.steps if only is None else only)
    lock_deadline = started + config.maintenance.lock_wait_seconds
    with waited_for(lambda: catalog.maintenance_lock(holder=run_id), deadline=lock_deadline) as lock:
        before = after = _counted(config)
        steps = []
        for step in Step:
            if step in wanted:
                steps.append(_done(run, lock, step, after))
                after = steps[-1].after
    return MaintenanceReport(config.name, is_dry_run, before, after, tuple(steps), seconds=time.monotonic() - started)


def _counted(config: PipelineConfig) -> Census:
    with open_lake(config.lake, read_only=True) as lake, lake.snapshot():
        if not is_registered(lake, config):
            raise NothingToMaintain(f"{config.name} never ran into this lake: there is nothing to maintain yet")
        return census(lake, config)


def _done(run: _Run, lock: LaneLock, step: Step, before: Census) -> StepReport:
    """One step; an error of ours is its report, save that the lock is gone."""
    started = time.monotonic()
    if started >= run.deadline:
        return StepReport(step, Outcome.POSTPONED, "the time was over", before=before, after=before)
    after = before
    with _work(run, lock, step) as work:
        try:
            report = _STEPS[step](work)
        except LaneLockLost:
            raise
        except ArrowIngestError as error:
            log.warning("%s failed: %s", step, error)
            report = StepReport(step, Outcome.FAILED, str(error))
        with suppress(CatalogUnavailable), work.lake.snapshot():
            after = census(work.lake, run.config)
    log.info("%s: %s", step, report.says)
    return replace(report, seconds=time.monotonic() - started, before=before, after=after)


def _work(run: _Run, lock: LaneLock, step: Step) -> Work:
    """The tools of one step, with sessions of its own."""
    opened = partial(
        open_lake,
        run.config.lake,
        read_only=run.is_dry_run,
        threads=THREADS,
        merged_file_bytes=int(run.config.maintenance.merge.target_file_bytes),
    )
    return Work(
        step=step,
        config=run.config,
        opened=opened,
        lock=lock,
        run_id=run.run_id,
        now=run.now,
        deadline=run.deadline,
        is_dry_run=run.is_dry_run,
        at=run.at,
    )
