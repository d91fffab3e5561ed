"""When the sensor launches a run for a lane, and when it does not: decisions over what it knows, without a clock."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arrow_ingest.components.lane_supervision import (
    PROBE_BUSY_EVERY,
    PROBE_LAYOUT_EVERY,
    PROBE_SUSPENDED_EVERY,
    RECONCILE_EVERY,
    STRANGE_COPY_EVERY,
    Decision,
    LaneFacts,
    LaneRuns,
    Launch,
    Skip,
    TopicIdentity,
    backoff,
    decide,
)
from arrow_ingest.components.names import BUSY, LAYOUT

NOW = datetime(2026, 11, 4, 12, tzinfo=UTC)
TOPIC = TopicIdentity("one", partitions=2)
JUST_NOW = LaneRuns(ended_at=NOW - timedelta(seconds=1))
CAUGHT_UP = LaneFacts(NOW, TOPIC, seen=TOPIC, high={0: 9, 1: 9}, mirrored={0: 9, 1: 9}, runs=JUST_NOW)
BEHIND = replace(CAUGHT_UP, mirrored={0: 9, 1: 4})


def ended(ago: timedelta, **known: object) -> LaneRuns:
    return replace(LaneRuns(ended_at=NOW - ago), **known)


def test_a_lane_that_is_caught_up_gets_no_run() -> None:
    assert decide(CAUGHT_UP) == Skip("caught up")


def test_lag_launches_a_run_at_once() -> None:
    assert decide(BEHIND) == Launch("lag 5")


def test_one_run_at_a_time() -> None:
    assert isinstance(decide(replace(BEHIND, runs=LaneRuns(in_flight="5f3a"))), Skip)


@pytest.mark.parametrize(
    "facts",
    [
        replace(CAUGHT_UP, seen=TopicIdentity("another", partitions=2)),
        replace(CAUGHT_UP, seen=TopicIdentity("one", partitions=1)),
        replace(CAUGHT_UP, runs=ended(RECONCILE_EVERY)),
        replace(CAUGHT_UP, runs=LaneRuns()),
        replace(CAUGHT_UP, mirrored={0: 9}, runs=LaneRuns()),
        replace(CAUGHT_UP, mirrored={0: 9}, runs=ended(STRANGE_COPY_EVERY)),
        replace(CAUGHT_UP, mirrored={0: 9, 1: 12}, runs=ended(STRANGE_COPY_EVERY)),
    ],
    ids=["topic made again", "partitions added", "quiet", "first start", "no mirror", "no mirror left", "mirror ahead"],
)
def test_a_run_decides_where_the_mirrored_copy_cannot_be_trusted(facts: LaneFacts) -> None:
    assert facts.lag == 0
    assert isinstance(decide(facts), Launch)


def test_a_mirror_that_no_run_repairs_does_not_launch_runs_without_pause() -> None:
    assert isinstance(decide(replace(CAUGHT_UP, mirrored={})), Skip)


@pytest.mark.parametrize(
    ("state", "every"),
    [("log_truncated", PROBE_SUSPENDED_EVERY), (BUSY, PROBE_BUSY_EVERY), (LAYOUT, PROBE_LAYOUT_EVERY)],
)
def test_a_lane_whose_newest_run_could_not_drain_it_is_probed_now_and_then(state: str, every: timedelta) -> None:
    early = decide(replace(BEHIND, runs=ended(every - timedelta(seconds=1), lane_state=state)))
    assert isinstance(early, Skip)
    assert "next probe in 1 s" in early.reason
    assert isinstance(decide(replace(BEHIND, runs=ended(every, lane_state=state))), Launch)


@given(failures=st.integers(1, 50), seconds=st.floats(0, 3600))
def test_after_failures_the_next_run_waits_for_its_backoff_and_no_longer(failures: int, seconds: float) -> None:
    decision: Decision = decide(replace(BEHIND, runs=ended(timedelta(seconds=seconds), failures=failures)))
    assert isinstance(decision, Launch) == (timedelta(seconds=seconds) >= backoff(failures))


@given(failures=st.integers(0, 50))
def test_the_backoff_grows_and_stays_within_minutes(failures: int) -> None:
    assert backoff(failures) <= backoff(failures + 1) <= timedelta(minutes=5)
