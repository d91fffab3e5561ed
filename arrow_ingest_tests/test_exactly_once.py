"""Kafka to DuckLake end to end: nothing lost, nothing twice, whatever happens to the run."""

import signal
import threading
from datetime import UTC, datetime

import pytest

from arrow_ingest.config import PipelineConfig
from arrow_ingest.errors import LaneBusy
from arrow_ingest.pipeline.drain import drain
from arrow_ingest.producer.events import EventGenerator
from arrow_ingest.values import Point
from arrow_ingest_tests.lake_contents import (
    assert_holds_exactly,
    assert_verified,
    drain_in_a_process,
    drained,
    produce,
)
from arrow_ingest_tests.worlds import World

MESSAGES = 24


@pytest.fixture
def generator() -> EventGenerator:
    return EventGenerator(seed=7, now=datetime(2026, 11, 20, 12, tzinfo=UTC), days=3)


@pytest.fixture
def config(world: World) -> PipelineConfig:
    return world.pipeline()


def test_every_row_arrives_once_at_its_place(config: PipelineConfig, generator: EventGenerator) -> None:
    produce(config, generator, range(MESSAGES))
    commits = drained(config)
    assert sum(receipt.tally.rows for receipt in commits) == MESSAGES * 50
    assert len(commits) > 1
    assert_holds_exactly(config, generator, MESSAGES)
    assert_verified(config)


def test_a_second_drain_finds_nothing_to_do(config: PipelineConfig, generator: EventGenerator) -> None:
    produce(config, generator, range(MESSAGES))
    drained(config)
    assert drained(config) == []
    assert_holds_exactly(config, generator, MESSAGES)


@pytest.mark.parametrize("flush_bytes", [1_000, 100_000, 64_000_000])
def test_any_split_into_commits_gives_the_same_table(
    config: PipelineConfig, generator: EventGenerator, flush_bytes: int
) -> None:
    flush = config.flush.model_copy(update={"max_bytes": flush_bytes})
    config = config.model_copy(update={"flush": flush})
    produce(config, generator, range(MESSAGES))
    drained(config)
    assert_holds_exactly(config, generator, MESSAGES)


# All points, many times each, over both catalogs: `chaos/test_kills.py`.
@pytest.mark.parametrize(
    ("point", "occurrence"),
    [(Point.STAGED, 2), (Point.FILES_ADDED, 1), (Point.LEDGER_WRITTEN, 2), (Point.COMMITTED, 1)],
)
def test_kill_at_labelled_point_loses_and_repeats_nothing(
    config: PipelineConfig, generator: EventGenerator, point: Point, occurrence: int
) -> None:
    produce(config, generator, range(MESSAGES))
    crashed = drain_in_a_process(config, point.value, str(occurrence))
    assert crashed.returncode == -signal.SIGKILL, crashed.stderr
    drained(config)
    assert_holds_exactly(config, generator, MESSAGES)
    assert_verified(config)


def test_two_drains_of_one_lane_one_is_refused(config: PipelineConfig, generator: EventGenerator) -> None:
    produce(config, generator, range(MESSAGES))
    first = drain(config, run_id="first")
    next(first)
    with pytest.raises(LaneBusy, match="first"):
        drained(config)
    first.close()
    drained(config)
    assert_holds_exactly(config, generator, MESSAGES)


def test_stop_commits_what_was_fetched_and_releases_the_lane(config: PipelineConfig, generator: EventGenerator) -> None:
    produce(config, generator, range(MESSAGES))
    stop = threading.Event()
    for receipt in drain(config, run_id="stopped", stop=stop):
        if receipt is not None:
            stop.set()
    drained(config)
    assert_holds_exactly(config, generator, MESSAGES)
