"""What an operator decides about a suspended lane: go on, accept a loss, or begin a new generation."""

from collections.abc import Mapping

from arrow_ingest.config import PipelineConfig
from arrow_ingest.errors import SuspendReason
from arrow_ingest.kafka.cluster import Cluster
from arrow_ingest.lake import lanes
from arrow_ingest.values import LaneState

NEEDS_NEW_GENERATION = frozenset({SuspendReason.TOPIC_RECREATED, SuspendReason.LOG_TRUNCATED})
"""Offsets that the lake has already will mean, or mean now, other records."""


def resume(
    config: PipelineConfig,
    lane: int,
    *,
    run_id: str,
    accept_loss: bool = False,
    skip_to: Mapping[int, int] | None = None,
) -> tuple[LaneState, LaneState]:
    """Let a suspended lane go on; returns its row before and after. A lane that is not suspended stays as it is.

    Args:
        accept_loss: go on behind records that the broker no longer has; the ledger gets a row of kind ``gap``.
        skip_to: per partition the offset to go on at, behind a record that cannot be read; part of the loss.

    Raises:
        LaneSuspended: what suspended it, or something else by now, is still there.
        LaneBusy, LaneFenced: a run drains the lane.
        ConfigError: the lane was never started, or ``skip_to`` lies outside of what it has yet to read.
    """
    with _lane(config, lane, run_id) as (lake, state), Cluster(config.kafka) as cluster:
        if state.suspended is None:
            return state, state
        after = resumed(state, cluster.topic_state(), accept_loss=accept_loss, skip_to=skip_to or {})
        return state, lanes.resume(lake, state, positions=after.positions, run_id=run_id)
