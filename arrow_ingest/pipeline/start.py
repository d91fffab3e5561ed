"""Where a lane's run begins: the lake's row, checked against what the broker says. The lake is the only truth."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

from arrow_ingest.config import PipelineConfig
from arrow_ingest.errors import ConfigError, LaneSuspended, LayoutMismatch, SuspendReason, TransientError
from arrow_ingest.kafka.cluster import Cluster
from arrow_ingest.kafka.guard import check_log
from arrow_ingest.lake import lanes
from arrow_ingest.lake.schema import TablePlan, plan_for
from arrow_ingest.lake.session import Lake
from arrow_ingest.lake.tables import ensure, read_table_schema
from arrow_ingest.pipeline.interventions import positions_to_rebase
from arrow_ingest.values import LaneState, Position, TopicState, partitions_of_lane

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LaneStart:
    """What a pass over the log begins with.

    Args:
        stored: the lane's row as the lake holds it; the fence of the first commit.
        state: the same with partitions that were added to the topic since; where reading begins.
        topic: identity and watermarks as the broker showed them now.
        plan: what the table looks like now.
    """

    stored: LaneState
    state: LaneState
    topic: TopicState
    plan: TablePlan

    @property
    def end(self) -> dict[int, int]:
        """The end of each of the lane's partitions as the broker showed it at the start."""
        return {partition: self.topic.high[partition] for partition in self.state.positions}


def begin(config: PipelineConfig, lane: int, lake: Lake, cluster: Cluster, *, run_id: str) -> LaneStart:
    """Read the lane's row, make it on the very first start, and refuse to read a log that is not the one it names.

    Raises:
        LaneSuspended: the lane is suspended, or what the broker shows suspends it now (written into its row).
        LayoutMismatch: the lake has another number of lanes than the YAML; `relayout.apply_lanes` changes it.
        BrokerUnavailable, TopicMissing, CatalogUnavailable: nothing was changed; try again.
    """
    topic = cluster.topic_state()
    ensure(lake, config)
    stored = lanes.read_lane(lake, config.name, lane) or _create(lake, config, lane, cluster, topic)
    if stored.layout != config.lanes:
        raise LayoutMismatch(config.name, stored.layout, config.lanes)
    if stored.suspended is not None:
        raise LaneSuspended(stored.suspended, stored.reason)
    stored = _checked(lake, config, stored, topic, run_id=run_id)
    plan = plan_for(config, read_table_schema(lake, config.lake))
    return LaneStart(stored, with_added_partitions(stored, topic), topic, plan)


def suspend_or_rebase(
    config: PipelineConfig, lane: int, lake: Lake, cluster: Cluster, incident: LaneSuspended, *, run_id: str
) -> None:
    """Write an incident that a drain met into the lane's row, or go on in a new generation where the YAML says so.

    Raises:
        LaneSuspended: ``incident``, unless a new generation was begun.
    """
    stored = lanes.read_lane(lake, config.name, lane)
    if stored is None or stored.suspended is not None:
        raise incident
    incident = _identified(incident, stored, cluster)
    if incident.reason is SuspendReason.TOPIC_RECREATED and config.on_topic_recreated == "new_generation":
        _rebase(lake, config, stored, cluster.topic_state(), run_id=run_id)
    else:
        lanes.suspend(lake, stored, incident.reason, incident.detail)
        raise incident


def _create(lake: Lake, config: PipelineConfig, lane: int, cluster: Cluster, topic: TopicState) -> LaneState:
    """Resolve ``start_from`` once and write it down, so that a crash before the first commit does not move it."""
    first = first_positions(config, cluster, topic)
    state = LaneState(
        pipeline=config.name,
        lane=lane,
        layout=config.lanes,
        generation=0,
        topic_id=topic.topic_id,
        positions={partition: first[partition] for partition in partitions_of_lane(first, lane, config.lanes)},
    )
    lanes.create_lane(lake, state)
    return state


def first_positions(config: PipelineConfig, cluster: Cluster, topic: TopicState) -> dict[int, Position]:
    """Where ``start_from`` begins to read each partition, as the broker answers now.

    Raises:
        BrokerUnavailable, TopicMissing: the broker cannot say which offsets a time means.
        ConfigError: the log does not hold an offset that the YAML names.
    """
    if isinstance(config.start_from, dict):
        return positions_at(config.start_from, topic)
    if config.start_from == "earliest":
        offsets = topic.low
    elif config.start_from == "latest":
        offsets = topic.high
    else:
        offsets = cluster.offsets_at(config.start_from)
    return {partition: Position(offset) for partition, offset in offsets.items()}


def positions_at(offsets: Mapping[int, int], topic: TopicState) -> dict[int, Position]:
    """Where a pipeline begins that names offsets; partitions that it does not name, at their first record.

    >>> positions_at({1: 7}, TopicState("t", "id", low={0: 3, 1: 5}, high={0: 9, 1: 9}))[1].offset
    7

    Raises:
        ConfigError: the topic has no such partition, or the log no such offset: what is missing would not be noticed.
    """
    for partition, offset in offsets.items():
        low, high = topic.low.get(partition), topic.high.get(partition)
        if low is None or high is None:
            raise ConfigError(f"topic {topic.topic} has no partition {partition}", key="start_from")
        if not low <= offset <= high:
            held = f"the log of partition {partition} holds [{low}, {high})"
            raise ConfigError(f"{held}, and offset {offset} is none of it", key="start_from")
    return {partition: Position(offsets.get(partition, low)) for partition, low in topic.low.items()}


def _checked(lake: Lake, config: PipelineConfig, stored: LaneState, topic: TopicState, *, run_id: str) -> LaneState:
    try:
        check_log(stored, topic)
    except LaneSuspended as incident:
        if incident.reason is SuspendReason.TOPIC_RECREATED and config.on_topic_recreated == "new_generation":
            return _rebase(lake, config, stored, topic, run_id=run_id)
        lanes.suspend(lake, stored, incident.reason, incident.detail)
        raise
    return stored


def _identified(incident: LaneSuspended, stored: LaneState, cluster: Cluster) -> LaneSuspended:
    """The incident, or that the topic was made again, of which offsets that are not there are but a consequence."""
    try:
        check_log(stored, cluster.topic_state())
    except LaneSuspended as found:
        return found if found.reason is SuspendReason.TOPIC_RECREATED else incident
    except TransientError:
        return incident
    return incident


def _rebase(lake: Lake, config: PipelineConfig, stored: LaneState, topic: TopicState, *, run_id: str) -> LaneState:
    log.warning("topic %s was made again: lane %d begins a new generation", config.kafka.topic, stored.lane)
    positions = positions_to_rebase(stored, topic)
    return lanes.rebase(lake, stored, topic_id=topic.topic_id, positions=positions, run_id=run_id)


def with_added_partitions(stored: LaneState, topic: TopicState) -> LaneState:
    """The lane's state with the partitions that the topic has gained since; they are read from their first record."""
    mine = partitions_of_lane(topic.partitions, stored.lane, stored.layout)
    added = [partition for partition in mine if partition not in stored.positions]
    first = {partition: Position(topic.low[partition]) for partition in added}
    return replace(stored, positions={**stored.positions, **first})
