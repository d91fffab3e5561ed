"""What an operator decides about a lane: go on, accept a loss, or begin a new generation."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from arrow_ingest.config import PipelineConfig
from arrow_ingest.errors import ConfigError, LaneSuspended, NothingToRebase, SuspendReason
from arrow_ingest.kafka.cluster import Cluster
from arrow_ingest.kafka.guard import check_log
from arrow_ingest.lake import lanes
from arrow_ingest.lake.catalog import catalog_of
from arrow_ingest.lake.session import Lake, open_lake
from arrow_ingest.values import LaneState, Position, TopicState, partitions_of_lane

_LOSSES = frozenset({SuspendReason.OFFSET_OUT_OF_RANGE, SuspendReason.PARTITION_REMOVED})
"""Incidents that going on behind the lost records ends. After the others, offsets mean other records."""


def resume(
    config: PipelineConfig,
    lane: int,
    *,
    run_id: str,
    accept_loss: bool = False,
    skip_to: Mapping[int, int] | None = None,
) -> tuple[LaneState, LaneState]:
    """Let a suspended lane go on; its row before and after. A lane that is not suspended stays as it is.

    Args:
        accept_loss: go on behind records that cannot be read any more; the ledger gets a row of kind ``gap``.
        skip_to: per partition the offset to go on at, behind a record that cannot be read; part of the loss.

    Raises:
        LaneSuspended: the incident is still there, and going on is not the answer, or its loss is not accepted.
        LaneBusy, LaneFenced: a run drains the lane.
        ConfigError: the lane was never started, or ``skip_to`` is not ahead of it.
        BrokerUnavailable, TopicMissing: nothing was changed.
        CatalogUnavailable: nothing was changed, or (a lost answer) all of it: ask again.
    """
    with _held(config, lane, run_id) as (lake, state):
        if state.suspended is None:
            return state, state
        with Cluster(config.kafka) as cluster:
            topic = cluster.topic_state()
        positions = positions_to_resume(skipped(state, skip_to or {}), topic, accept_loss=accept_loss)
        return state, lanes.resume(lake, state, positions=positions, run_id=run_id)


def rebase(config: PipelineConfig, lane: int, *, run_id: str) -> tuple[LaneState, LaneState]:
    """Begin a new generation of a lane, for a topic that was made again or lost its end; its row before and after.

    Raises:
        ConfigError: the lane was never started, or (`NothingToRebase`) the topic is still the one that it reads.
        LaneBusy, LaneFenced: a run drains the lane.
        BrokerUnavailable, TopicMissing: nothing was changed.
        CatalogUnavailable: nothing was changed, or (a lost answer) all of it: ask again.
    """
    with _held(config, lane, run_id) as (lake, state):
        with Cluster(config.kafka) as cluster:
            topic = cluster.topic_state()
        positions = positions_to_rebase(state, topic)
        return state, lanes.rebase(lake, state, topic_id=topic.topic_id, positions=positions, run_id=run_id)


def skipped(lane: LaneState, skip_to: Mapping[int, int]) -> LaneState:
    """The lane with some partitions moved forward.

    Raises:
        ConfigError: a partition is not the lane's, or would not move forward.
    """
    for partition, offset in skip_to.items():
        if lane.offsets.get(partition, offset) >= offset:
            raise ConfigError(f"partition {partition} cannot go on at {offset}: lane {lane.lane} is at {lane.offsets}")
    moved = {partition: Position(offset) for partition, offset in skip_to.items()}
    return replace(lane, positions={**lane.positions, **moved})


def positions_to_resume(lane: LaneState, topic: TopicState, *, accept_loss: bool) -> Mapping[int, Position]:
    """Where a lane can go on: where it stands, or behind what the broker has lost.

    >>> lane = LaneState("events", 0, 1, 0, "id-1", {0: Position(5), 1: Position(3)})
    >>> shorter = TopicState("t", "id-1", low={0: 7}, high={0: 9})
    >>> dict(positions_to_resume(lane, shorter, accept_loss=True))
    {0: Position(offset=7, leader_epoch=-1)}

    Raises:
        LaneSuspended: as `check_log`.
    """
    try:
        check_log(lane, topic)
    except LaneSuspended as incident:
        if not accept_loss or incident.reason not in _LOSSES:
            raise
        present = {partition: position for partition, position in lane.positions.items() if partition in topic.high}
        ahead = {
            partition: position if position.offset >= topic.low[partition] else Position(topic.low[partition])
            for partition, position in present.items()
        }
        check_log(replace(lane, positions=ahead), topic)
        return ahead
    return lane.positions


def positions_to_rebase(lane: LaneState, topic: TopicState) -> dict[int, Position]:
    """Where a new generation begins: at the start of a new topic, or where the log that lost its end now ends.

    >>> lane = LaneState("events", 0, 1, 0, "id-1", {0: Position(5), 1: Position(3)})
    >>> positions_to_rebase(lane, TopicState("t", "id-2", low={0: 0, 1: 0}, high={0: 9, 1: 9}))[0].offset
    0
    >>> positions_to_rebase(lane, TopicState("t", "id-1", low={0: 0, 1: 0}, high={0: 4, 1: 9}))[0].offset
    4

    Raises:
        NothingToRebase: it is the same topic, and nothing is lost at its end.
    """
    mine = partitions_of_lane(topic.partitions, lane.lane, lane.layout)
    if topic.topic_id != lane.topic_id:
        return {partition: Position(topic.low[partition]) for partition in mine}
    if all(lane.offsets.get(partition, 0) <= topic.high[partition] for partition in mine):
        raise NothingToRebase(f"lane {lane.lane} reads this very topic ({topic.topic_id}): there is nothing to rebase")
    wanted = {partition: lane.offsets.get(partition, topic.low[partition]) for partition in mine}
    return {
        partition: Position(min(max(offset, topic.low[partition]), topic.high[partition]))
        for partition, offset in wanted.items()
    }


@contextmanager
def _held(config: PipelineConfig, lane: int, run_id: str) -> Iterator[tuple[Lake, LaneState]]:
    """The lake and the lane's row, under the lane's lock."""
    catalog = catalog_of(config.lake)
    missing = ConfigError(f"lane {lane} of {config.name} was never started: `arrow-ingest drain {config.name}` does it")
    if not catalog.exists():
        raise missing
    with catalog.lane_lock(config.name, lane, holder=run_id), open_lake(config.lake) as lake:
        state = lanes.read_lane(lake, config.name, lane)
        if state is None:
            raise missing
        yield lake, state
