"""A pipeline's number of lanes changed under its lanes' rows: positions move, old runs are fenced, one change wins."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arrow_ingest.config import LakeConfig, PipelineConfig
from arrow_ingest.errors import (
    ConfigError,
    LakeMismatch,
    LaneFenced,
    LaneSuspended,
    LayoutMismatch,
    SuspendReason,
)
from arrow_ingest.lake import lanes
from arrow_ingest.lake.layouts import apply_layout, rearranged
from arrow_ingest.lake.ledger import commits_since
from arrow_ingest.lake.session import Lake, open_lake
from arrow_ingest.lake.tables import claim, ensure
from arrow_ingest.values import CommitKind, LaneState, Position
from arrow_ingest_tests.lake_writers import pipeline

PARTITIONS = 5


@pytest.fixture
def config(tmp_path: Path, catalog: str) -> PipelineConfig:
    place = LakeConfig(catalog=catalog, data_path=str(tmp_path / "data"), table="events")
    return pipeline(tmp_path, lake=place.model_dump(by_alias=True))


@pytest.fixture
def lake(config: PipelineConfig) -> Iterator[Lake]:
    with open_lake(config.lake) as opened:
        ensure(opened, config)
        yield opened


def lane(number: int, layout: int, **fields: object) -> LaneState:
    """Lane ``number`` of ``layout``, each partition at its own offset."""
    mine = {part: Position(10 + part, part) for part in range(number, PARTITIONS, layout)}
    state = LaneState("events", number, layout, 0, "topic-id-a", mine)
    return replace(state, **fields)  # type: ignore[arg-type]


def create(lake: Lake, layout: int) -> None:
    for number in range(layout):
        lanes.create_lane(lake, lane(number, layout))


@pytest.mark.parametrize(("before", "after"), [(1, 4), (4, 1), (2, 3), (3, 8)])
def test_partitions_change_hands_and_nothing_else(lake: Lake, before: int, after: int) -> None:
    create(lake, before)
    was, now = apply_layout(lake, "events", after, unstarted={}, run_id="operator")
    assert (was[0].layout, len(was), len(now)) == (before, before, after)
    assert now == lanes.read_lanes(lake, "events") == tuple(lane(number, after) for number in range(after))
    (entry,) = commits_since(lake, "events", 0)
    assert (entry.kind, entry.ranges, entry.run_id) == (CommitKind.RELAYOUT, (), "operator")


def test_a_layout_that_is_there_already_changes_nothing(lake: Lake) -> None:
    create(lake, 2)
    was, now = apply_layout(lake, "events", 2, unstarted={}, run_id="operator")
    assert was == now
    assert commits_since(lake, "events", 0) == ()


def test_lanes_that_a_smaller_layout_retired_come_back_with_a_larger_one(lake: Lake) -> None:
    create(lake, 4)
    apply_layout(lake, "events", 2, unstarted={}, run_id="operator")
    retired = lanes.read_lane(lake, "events", 3)
    assert retired is not None
    assert (retired.is_retired, retired.offsets) == (True, {})
    _, now = apply_layout(lake, "events", 4, unstarted={}, run_id="operator")
    assert now == tuple(lane(number, 4) for number in range(4))


def test_a_run_of_the_old_layout_is_fenced_in_lanes_old_and_retired(lake: Lake) -> None:
    create(lake, 4)
    apply_layout(lake, "events", 2, unstarted={}, run_id="operator")
    for number in range(4):
        stale = lane(number, 4)
        with pytest.raises(LaneFenced), lake.transaction():
            lanes.move_lane(lake, stale, replace(stale, positions={number: Position(99)}))
    assert lanes.read_lanes(lake, "events") == (lane(0, 2), lane(1, 2))


def test_a_lane_of_another_layout_does_not_start(lake: Lake) -> None:
    create(lake, 2)
    with pytest.raises(LayoutMismatch, match=r"layout 2 in the lake, 4 in the YAML: run `arrow-ingest lanes apply"):
        lanes.create_lane(lake, lane(2, 4))
    assert lanes.read_lane(lake, "events", 2) is None


def test_partitions_of_a_lane_that_never_started_begin_where_the_pipeline_starts(lake: Lake) -> None:
    lanes.create_lane(lake, lane(0, 2))
    first = {part: Position(70 + part) for part in range(PARTITIONS)}
    _, now = apply_layout(lake, "events", 1, unstarted=first, run_id="operator")
    assert now[0].offsets == {0: 10, 1: 71, 2: 12, 3: 73, 4: 14}


def test_lanes_in_several_generations_of_one_topic_go_on_in_the_newest(lake: Lake) -> None:
    lanes.create_lane(lake, lane(0, 2))
    lanes.create_lane(lake, lane(1, 2, generation=3))
    _, now = apply_layout(lake, "events", 3, unstarted={}, run_id="operator")
    assert {state.generation for state in now} == {3}


def test_what_an_operator_has_to_decide_first_comes_first(lake: Lake) -> None:
    with pytest.raises(ConfigError, match="no lane was ever started"):
        apply_layout(lake, "events", 2, unstarted={}, run_id="operator")
    lanes.create_lane(lake, lane(0, 2))
    lanes.create_lane(lake, lane(1, 2, topic_id="topic-id-b"))
    with pytest.raises(ConfigError, match="rebase"):
        apply_layout(lake, "events", 1, unstarted={}, run_id="operator")
    lanes.suspend(lake, lane(0, 2), SuspendReason.LOG_TRUNCATED, "gone")
    with pytest.raises(LaneSuspended, match="gone"):
        apply_layout(lake, "events", 1, unstarted={}, run_id="operator")
    assert commits_since(lake, "events", 0) == ()


def test_only_a_registered_pipeline_has_lanes(lake: Lake) -> None:
    with pytest.raises(LakeMismatch, match="not registered"), lake.transaction():
        claim(lake, "other")


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(0, 12))
def test_any_series_of_layouts_keeps_every_position_once(layouts: list[int], partitions: int) -> None:
    positions = {part: Position(100 + part, part) for part in range(partitions)}
    held: tuple[LaneState, ...] = (LaneState("events", 0, 1, 0, "id", positions),)
    for layout in layouts:
        held = rearranged(held, layout)
        assert [state.lane for state in held if not state.is_retired] == list(range(layout))
        assert all(part % layout == state.lane for state in held for part in state.positions)
        found = [item for state in held for item in state.positions.items()]
        assert sorted(found) == sorted(positions.items())
