"""The YAML's number of lanes applied to the lake, once the lanes' runs have ended, or over their heads."""

from contextlib import ExitStack

from arrow_ingest.config import PipelineConfig
from arrow_ingest.errors import ConfigError
from arrow_ingest.kafka.cluster import Cluster
from arrow_ingest.lake import lanes
from arrow_ingest.lake.catalog import catalog_of
from arrow_ingest.lake.layouts import apply_layout
from arrow_ingest.lake.session import open_lake
from arrow_ingest.pipeline.lane_locks import holding_lanes
from arrow_ingest.pipeline.start import first_positions
from arrow_ingest.values import LaneState


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
        BrokerUnavailable, TopicMissing, CommitConflict: nothing was changed.
        CatalogUnavailable: nothing was changed, or (a lost answer) all of it: ask again.
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
            held.enter_context(holding_lanes(config, before, run_id=run_id, wait_seconds=wait_seconds))
        if any(lane.topic_id != topic.topic_id for lane in before):
            unstarted = {}  # their offsets mean records of another topic; a rebase finds their beginning
        return apply_layout(lake, config.name, config.lanes, unstarted=unstarted, run_id=run_id)
