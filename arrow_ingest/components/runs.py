"""How a run was launched to what it does: which lanes it drains, how long, and what it must publish."""

from collections.abc import Mapping
from dataclasses import dataclass

import dagster as dg

from arrow_ingest.components.names import LANE_TAG
from arrow_ingest.config import PipelineConfig, Run


@dataclass(frozen=True, slots=True)
class Assignment:
    """What one run is to do.

    Args:
        lanes: drained one after the other.
        run: how long each is drained.
        is_supervised: the sensor launched it for one lane and will launch the next one.
    """

    lanes: tuple[int, ...]
    run: Run
    is_supervised: bool


def assignment(config: PipelineConfig, tags: Mapping[str, str]) -> Assignment:
    """The sensor's runs drain the lane of their tag as the YAML says; a click or a backfill drains all that is pending.

    Raises:
        ValueError: the tag names no lane of the pipeline.
    """
    tag = tags.get(LANE_TAG)
    if tag is None:
        return Assignment(
            tuple(range(config.lanes)), config.run.model_copy(update={"until": "caught_up"}), is_supervised=False
        )
    if not tag.isdecimal() or int(tag) >= config.lanes:
        raise ValueError(
            f"the run's tag {LANE_TAG} is {tag!r}, but {config.name} has the lanes 0 to {config.lanes - 1}"
        )
    return Assignment((int(tag),), config.run, is_supervised=True)


def requested_partitions(context: dg.AssetExecutionContext) -> tuple[str, ...]:
    """The table partitions that the run was launched for: a key, a range, or none."""
    if not (context.has_partition_key or context.has_partition_key_range):
        return ()
    return tuple(context.partition_keys)
