"""One lane, drained: fetch, decode and stage without a transaction, commit briefly, yield a receipt per commit."""

import logging
import threading
import time
from collections.abc import Callable, Iterator

from arrow_ingest.config import PipelineConfig, Run
from arrow_ingest.errors import CommitConflict, LaneSuspended, Replan, StageFailed
from arrow_ingest.kafka.cluster import Cluster
from arrow_ingest.lake.catalog import catalog_of
from arrow_ingest.lake.session import open_lake
from arrow_ingest.pipeline.allocator import keep_freed_memory
from arrow_ingest.pipeline.culprits import widened
from arrow_ingest.pipeline.lane_committer import commit_threads
from arrow_ingest.pipeline.log_pass import LaneRun, LogPass
from arrow_ingest.pipeline.start import begin, suspend_or_rebase
from arrow_ingest.privacy import keep_private
from arrow_ingest.values import Point, Receipt, Tally, ignore

log = logging.getLogger(__name__)

MAX_REPLANS = 8
"""How often a run stages again because others changed the table under it."""


def drain(
    config: PipelineConfig,
    *,
    lane: int = 0,
    run_id: str,
    run: Run | None = None,
    stop: threading.Event | None = None,
    at: Callable[[Point], None] = ignore,
) -> Iterator[Receipt | None]:
    """Drain one lane as ``run`` (default: ``config.run``) says.

    Yields a receipt per commit, in order, and None about once a second while nothing is committed, so that the caller
    can do work of its own. The lane's lock is held until the generator ends or is closed; closing it abandons the open
    micro-batch, which the next run reads again. Setting ``stop`` commits what was fetched and ends.

    Args:
        run_id: who drains; stands in the ledger and in the snapshot's commit message.
        at: called at every labelled point; tests stop the process there.

    Raises:
        LaneBusy: another run drains this lane.
        LaneSuspended: the lane was, or is now, suspended; the reason stands in its row.
        LaneFenced: another run took the lane over; nothing of the last micro-batch was committed.
        TransientError: broker or catalog failed; nothing was lost, the next run goes on from the stored offsets.
    """
    keep_private()
    keep_freed_memory()
    lock = catalog_of(config.lake).lane_lock(config.name, lane, holder=run_id)
    with lock as lane_lock, Cluster(config.kafka) as cluster:
        lane_run = LaneRun(
            config=config,
            lane=lane,
            run_id=run_id,
            run=run or config.run,
            cluster=cluster,
            lane_lock=lane_lock,
            stop=stop or threading.Event(),
            at=at,
            started_at=time.monotonic(),
        )
        yield from _passes(lane_run)


def _passes(lane_run: LaneRun) -> Iterator[Receipt | None]:
    """Passes over the log from the stored offsets on; a finding that makes it stage again begins a new one."""
    config = lane_run.config
    suspects: frozenset[tuple[int, int]] = frozenset()
    committed = Tally()
    replans = 0
    while True:
        try:
            with open_lake(config.lake, threads=commit_threads(config)) as lake:
                start = begin(config, lane_run.lane, lake, lane_run.cluster, run_id=lane_run.run_id)
                with LogPass(lane_run, start, lake, committed=committed, suspects=suspects) as log_pass:
                    for receipt in log_pass.receipts():
                        if receipt is not None:
                            committed += receipt.tally
                        yield receipt
            return
        except StageFailed as failure:
            suspects = widened(suspects, failure)
        except Replan as finding:
            replans += 1
            if replans > MAX_REPLANS:
                raise CommitConflict(f"the table changed {replans} times under this run") from finding
            log.info("staging again: %s", finding)
        except LaneSuspended as incident:
            with open_lake(config.lake) as lake:
                suspend_or_rebase(config, lane_run.lane, lake, lane_run.cluster, incident, run_id=lane_run.run_id)
