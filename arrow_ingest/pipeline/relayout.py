"""The YAML's number of lanes applied to the lake, once the lanes' runs have ended, or over their heads."""

import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from arrow_ingest.config import PipelineConfig
from arrow_ingest.errors import ConfigError, LaneBusy
from arrow_ingest.kafka.cluster import Cluster
from arrow_ingest.lake import lanes
from arrow_ingest.lake.catalog import Catalog, catalog_of
from arrow_ingest.lake.layouts import apply_layout
from arrow_ingest.lake.session import open_lake
from arrow_ingest.pipeline.start import first_positions
from arrow_ingest.values import LaneState

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
"""How often a lane that is being drained is tried again; the sensor leaves it alone for several seconds."""


def apply_lanes(
    config: PipelineConfig, *, run_id: str, wait_seconds: float, force: bool = False
) -> tuple[tuple[LaneState, ...], tuple[LaneState, ...]]:
    """Give the lake the lanes of the YAML; its lanes before and after. They are the same where nothing had to change.

    Args:
        wait_seconds: how long to wait for runs that drain the lanes now.
        force: do not wait. What such a run has not committed yet is fenced, and read again by the new lanes.

    Raises:
        LaneBusy: a run drains a lane and did not end in time; nothing was changed.
        ConfigError: nothing was ever committed, or the lanes read different topics.
        LaneSuspended: a lane waits for an operator.
        BrokerUnavailable, TopicMissing, CatalogUnavailable, CommitConflict: nothing was changed.
    """
    catalog = catalog_of(config.lake)
    if not catalog.exists():
        raise ConfigError(f"{config.name} was never started: its first run makes the lanes of the YAML")
    with Cluster(config.kafka) as cluster:
        topic = cluster.topic_state()
        unstarted = first_positions(config, cluster, topic)
    with open_lake(config.lake) as lake, ExitStack() as held:
        before = lanes.read_lanes(lake, config.name)
        if before and before[0].layout == config.lanes:
            return before, before
        if not force:
            waited = _Waiting(catalog, config.name, run_id, deadline=time.monotonic() + wait_seconds)
            for lane in range(max(config.lanes, *(state.layout for state in before), 1)):
                held.enter_context(waited.lane_lock(lane))
        if any(lane.topic_id != topic.topic_id for lane in before):
            unstarted = {}  # their offsets mean records of another topic; a rebase finds their beginning
        return apply_layout(lake, config.name, config.lanes, unstarted=unstarted, run_id=run_id)


@dataclass(frozen=True, slots=True)
class _Waiting:
    """Takes lanes' locks, each as soon as the run that holds it ends; ``deadline`` is in `time.monotonic` seconds."""

    catalog: Catalog
    pipeline: str
    run_id: str
    deadline: float

    @contextmanager
    def lane_lock(self, lane: int) -> Iterator[None]:
        with ExitStack() as held:
            is_told = False
            while True:
                try:
                    held.enter_context(self.catalog.lane_lock(self.pipeline, lane, holder=self.run_id))
                    break
                except LaneBusy as busy:
                    if time.monotonic() >= self.deadline:
                        raise
                    if not is_told:
                        log.info("%s: waiting for its end", busy)
                        is_told = True
                    time.sleep(POLL_SECONDS)
            yield
