"""Replays and rebuilds on every broker, catalog and store; killed at every point; and cut off at their COMMIT."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from arrow_ingest.config import PipelineConfig
from arrow_ingest.demo.broker import EmbeddedBroker
from arrow_ingest.producer.events import EventGenerator
from arrow_ingest.values import Point
from arrow_ingest_tests.lake_contents import (
    PARTITIONS,
    assert_holds_exactly,
    assert_verified,
    pipeline,
    repair_in_a_process,
)
from arrow_ingest_tests.repairs import (
    DAY,
    MESSAGES,
    REFUSED,
    event_generator,
    fill,
    offsets_of,
    rebuilt,
    replayed,
    rows_of,
    unresolved,
)
from arrow_ingest_tests.worlds import World

POINTS = (Point.STAGED, Point.FENCED, Point.FILES_ADDED, Point.LEDGER_WRITTEN, Point.COMMITTED)
"""In their order, so that only the last one leaves something in the lake."""


@pytest.fixture
def generator() -> EventGenerator:
    return event_generator()


@pytest.fixture
def config(tmp_path: Path, broker: EmbeddedBroker, topic: Callable[..., str], catalog: str) -> PipelineConfig:
    return pipeline(tmp_path, broker.bootstrap_servers, topic(PARTITIONS), catalog=catalog)


def test_letters_come_once_and_their_day_stays_the_same_when_it_is_rebuilt(
    world: World, generator: EventGenerator
) -> None:
    config = world.pipeline()
    fill(config, generator, garbage=True)
    offsets = offsets_of(config)
    first = replayed(config)
    assert (first.replayed, first.still_dead) == ({"too_many_rows": len(REFUSED)}, {"framing": 1})
    assert replayed(config).receipt is None
    before, files = rows_of(config), world.data_files()
    for _ in range(2):
        [receipt] = rebuilt(config, DAY)
        assert rows_of(config).equals(before)
        assert receipt.touched[0].rows == rows_of(config, DAY).num_rows
    assert_holds_exactly(config, generator, MESSAGES)
    assert offsets_of(config) == offsets
    assert set(files) < set(world.data_files()), "what earlier snapshots refer to is for maintenance to remove"
    assert not [file for file in world.data_files() if file.name.endswith("-delete.parquet")]
    assert_verified(config)


def test_killed_at_any_point_they_lose_and_repeat_nothing(config: PipelineConfig, generator: EventGenerator) -> None:
    """Each process finds what the one before it left; the last one dies after its COMMIT."""
    fill(config, generator)
    before = rows_of(config)
    for point in POINTS:
        assert rows_of(config).equals(before)
        crashed = repair_in_a_process(config, "replay", point.value)
        assert crashed.returncode == -signal.SIGKILL, crashed.stderr
    assert unresolved(config) == {}
    assert_holds_exactly(config, generator, MESSAGES)
    before = rows_of(config)
    for point in POINTS:
        crashed = repair_in_a_process(config, DAY, point.value)
        assert crashed.returncode == -signal.SIGKILL, crashed.stderr
        assert rows_of(config).equals(before)
    rebuilt(config, DAY)
    assert rows_of(config).equals(before)
    assert_verified(config)
