"""The clock that a run goes by jumps three days, before it and under it: nothing is lost, repeated or refused.

Python's clock does, all over this process; DuckDB's and librdkafka's stay as they are, and so do waits.
"""

from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import time_machine

from arrow_ingest.config import PipelineConfig
from arrow_ingest.lake.commit import STALE_AFTER
from arrow_ingest.producer.events import EventGenerator
from arrow_ingest.values import Point
from arrow_ingest_tests.drained_lake import ROWS, Drained
from arrow_ingest_tests.lake_contents import (
    assert_holds_exactly,
    assert_verified,
    drained,
    produce,
    query,
)
from arrow_ingest_tests.test_maintenance import maintained, orphan, rows, tidied

pytestmark = [pytest.mark.chaos(faults=1), pytest.mark.timeout(120)]

JUMPS = (timedelta(days=3), timedelta(days=-3))


def jumped(by: timedelta) -> "time_machine.travel":
    """The clock goes on from there, for a block."""
    return time_machine.travel(datetime.now(UTC) + by)


def newest_commit(config: PipelineConfig) -> datetime:
    """When it was committed, by the clock of its run."""
    said = query(config, "SELECT arg_max(committed_at, snapshot_id) AS at FROM lake.arrow_ingest.commits").to_pylist()
    newest = said[0]["at"]
    assert isinstance(newest, datetime)
    return newest


@pytest.mark.parametrize("jump", JUMPS, ids=str)
def test_a_run_by_a_clock_that_is_three_days_off_is_gone_on_from_by_one_that_is_right(
    config: PipelineConfig, generator: EventGenerator, jump: timedelta
) -> None:
    produce(config, generator, range(4))
    drained(config)
    produce(config, generator, range(4, 8))
    with jumped(jump):
        drained(config)
    assert abs(newest_commit(config) - datetime.now(UTC) - jump) < timedelta(minutes=5)
    assert_verified(config)
    for report in maintained(config).steps:
        assert report.outcome.value != "failed", report
    produce(config, generator, range(8, 12))
    drained(config)
    assert_holds_exactly(config, generator, 12)
    assert_verified(config)


@pytest.mark.parametrize("jump", JUMPS, ids=str)
@pytest.mark.parametrize("point", [Point.STAGED, Point.FILES_ADDED])
def test_a_clock_that_jumps_under_a_run_costs_it_no_more_than_to_stage_again(
    config: PipelineConfig, generator: EventGenerator, jump: timedelta, point: Point
) -> None:
    """Forwards, its files look older than those that orphan removal leaves alone, before COMMIT as amid it."""
    produce(config, generator, range(8))
    passed = 0
    with ExitStack() as travels:

        def at(reached: Point) -> None:
            nonlocal passed
            passed += reached is point
            if reached is point and passed == 1:
                travels.enter_context(jumped(jump))

        commits = drained(config, at=at)
    assert passed == len(commits) + (jump > timedelta()), "the files are staged again where they look old"
    assert abs(newest_commit(config) - datetime.now(UTC) - jump) < timedelta(minutes=5)
    assert_holds_exactly(config, generator, 8)
    assert_verified(config)


def test_maintenance_by_a_clock_that_is_three_days_off_takes_no_row_and_no_file_that_may_be_committed(
    tmp_path: Path,
) -> None:
    now = datetime.now(UTC)
    lane = Drained(tmp_path, tidied(tmp_path, f"sqlite:{tmp_path / 'catalog.sqlite'}"))
    with lane.lake:
        for _ in range(4):
            lane.commit(1, dead=1)
        before = rows(lane.lake)
        waiting = orphan(lane, "lane-0-0-0.parquet", days=STALE_AFTER / timedelta(days=1))
        for jump in JUMPS:
            maintained(lane.config, now=now + jump)
            assert waiting.exists()
        lane.commit(1)
        assert rows(lane.lake).num_rows == before.num_rows + 2 * ROWS
        assert lane.verify(full=True, strict=True).findings == ()
