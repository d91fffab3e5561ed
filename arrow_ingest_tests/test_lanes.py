"""Several lanes of one topic, and their number changed: beside idle lanes, beside a run, and back."""

from datetime import UTC, datetime
from typing import Any

import pytest

from arrow_ingest.config import PipelineConfig
from arrow_ingest.errors import ConfigError, LaneBusy, LaneFenced, LayoutMismatch
from arrow_ingest.pipeline.drain import drain
from arrow_ingest.pipeline.relayout import apply_lanes
from arrow_ingest.producer.events import EventGenerator
from arrow_ingest.values import Point, Receipt
from arrow_ingest_tests.lake_contents import (
    PARTITIONS,
    assert_holds_exactly,
    assert_verified,
    drained,
    produce,
    query,
)
from arrow_ingest_tests.worlds import World


@pytest.fixture
def generator() -> EventGenerator:
    return EventGenerator(seed=7, now=datetime(2026, 11, 20, 12, tzinfo=UTC), days=3)


@pytest.fixture
def config(world: World) -> PipelineConfig:
    return world.pipeline(lanes=2)


def with_lanes(config: PipelineConfig, lanes: int) -> PipelineConfig:
    """The same pipeline after somebody edited its YAML."""
    return config.model_copy(update={"lanes": lanes})


def all_drained(config: PipelineConfig) -> list[Receipt]:
    """The receipts of one drain of each lane, one after the other."""
    return [receipt for lane in range(config.lanes) for receipt in drained(config, lane=lane)]


def apply(config: PipelineConfig, **options: Any) -> None:
    apply_lanes(config, run_id="operator", **{"wait_seconds": 0, **options})


@pytest.mark.parametrize("lanes", [1, 3, 4, 6])
def test_lanes_applied_between_runs_lose_and_repeat_nothing(
    config: PipelineConfig, generator: EventGenerator, lanes: int
) -> None:
    produce(config, generator, range(12))
    all_drained(config)
    produce(config, generator, range(12, 24))
    changed = with_lanes(config, lanes)
    apply(changed)
    all_drained(changed)
    assert_holds_exactly(config, generator, 24)
    assert_verified(changed)
    apply(config)
    produce(config, generator, range(24, 28))
    all_drained(config)
    assert_holds_exactly(config, generator, 28)
    assert_verified(config)


def test_until_lanes_are_applied_no_lane_old_or_new_reads_anything(
    config: PipelineConfig, generator: EventGenerator
) -> None:
    produce(config, generator, range(8))
    all_drained(config)
    produce(config, generator, range(8, 16))
    for lane in range(4):
        with pytest.raises(LayoutMismatch, match="layout 2 in the lake, 4 in the YAML"):
            drained(with_lanes(config, 4), lane=lane)
    assert_holds_exactly(config, generator, 8)


def test_a_run_of_the_old_layout_makes_lanes_apply_wait(config: PipelineConfig, generator: EventGenerator) -> None:
    produce(config, generator, range(8))
    running = drain(config, lane=1, run_id="old-run")
    next(running)
    with pytest.raises(LaneBusy, match="old-run"):
        apply(with_lanes(config, 4))
    running.close()
    apply(with_lanes(config, 4))


def test_a_run_of_the_old_layout_is_fenced_when_lanes_are_applied_by_force(
    config: PipelineConfig, generator: EventGenerator
) -> None:
    produce(config, generator, range(16))
    drained(config, lane=1)
    changed, staged = with_lanes(config, 4), 0

    def at(point: Point) -> None:
        nonlocal staged
        staged += point is Point.STAGED
        if point is Point.STAGED and staged == 1:
            apply(changed, force=True)

    with pytest.raises(LaneFenced):
        drained(config, at=at)
    assert staged
    all_drained(changed)
    assert_holds_exactly(config, generator, 16)
    assert_verified(changed)


def test_a_lane_that_never_ran_begins_where_the_pipeline_starts(
    config: PipelineConfig, generator: EventGenerator
) -> None:
    latest = config.model_copy(update={"start_from": "latest"})
    produce(config, generator, range(8))
    drained(latest, lane=0)
    one = with_lanes(latest, 1)
    apply(one)
    produce(config, generator, range(8, 12))
    drained(one)
    found = query(config, "SELECT DISTINCT _kafka_partition AS p, _kafka_offset AS o FROM lake.main.events ORDER BY p")
    assert found.to_pylist() == [{"p": part, "o": 2} for part in range(PARTITIONS)]


def test_lanes_of_a_pipeline_that_never_ran_are_made_by_its_first_run(config: PipelineConfig) -> None:
    with pytest.raises(ConfigError, match="never started"):
        apply(config)
