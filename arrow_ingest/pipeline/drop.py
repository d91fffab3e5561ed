"""A pipeline that is wanted no more: dropped once its runs have ended, and nobody maintains the lake."""

import time
from contextlib import ExitStack
from functools import partial

from arrow_ingest.config import PipelineConfig
from arrow_ingest.lake import dropping, lanes
from arrow_ingest.lake.catalog import catalog_of
from arrow_ingest.lake.dropping import Held
from arrow_ingest.lake.lock_wait import waited_for
from arrow_ingest.lake.session import open_lake
from arrow_ingest.pipeline.lane_locks import holding_lanes


def held(config: PipelineConfig) -> Held | None:
    """What the lake holds of a pipeline; None: nothing.

    Raises:
        CatalogUnavailable: the lake cannot be opened.
    """
    if not catalog_of(config.lake).exists():
        return None
    with open_lake(config.lake, read_only=True) as lake, lake.snapshot():
        return dropping.held_of(lake, config.name)


def drop(config: PipelineConfig, *, keep_table: bool, run_id: str, wait_seconds: float) -> bool:
    """Drop a pipeline from its lake, with its table or without; False: there was nothing to drop.

    The topic, the consumer group and what Dagster knows stay. A run that starts afterwards begins anew.

    Args:
        keep_table: the table and its dead letters stay, as ordinary tables.
        wait_seconds: how long to wait for runs that drain the lanes now, and for maintenance.

    Raises:
        LaneBusy, MaintenanceBusy: others did not come to their end in time; nothing was changed.
        CommitConflict, CatalogUnavailable: as `dropping.drop`.
    """
    deadline = time.monotonic() + wait_seconds
    catalog = catalog_of(config.lake)
    if not catalog.exists():
        return False
    with ExitStack() as taken:
        lake = taken.enter_context(open_lake(config.lake))
        taken.enter_context(waited_for(partial(catalog.maintenance_lock, holder=run_id), deadline=deadline))
        left = max(0.0, deadline - time.monotonic())
        known = lanes.read_lanes(lake, config.name)
        taken.enter_context(holding_lanes(config, known, run_id=run_id, wait_seconds=left))
        return dropping.drop(lake, config.name, keep_table=keep_table)
