"""A new layout beside commits and first starts on PostgreSQL, in every order: one of the two loses, and looks again."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from arrow_ingest.config import LakeConfig, PipelineConfig
from arrow_ingest.errors import CommitConflict, LaneFenced, LayoutMismatch
from arrow_ingest.lake import lanes
from arrow_ingest.lake.layouts import apply_layout, rearranged
from arrow_ingest.lake.session import Lake, open_lake
from arrow_ingest.lake.tables import claim, ensure
from arrow_ingest.stack.postgres import PostgresServer
from arrow_ingest.values import LaneState, Position
from arrow_ingest_tests.lake_writers import pipeline

pytestmark = pytest.mark.postgres

OLD = LaneState("events", 0, 1, 0, "topic-id-a", {part: Position(10) for part in range(4)})
MOVED = replace(OLD, positions={part: Position(11) for part in range(4)})


@pytest.fixture
def config(tmp_path: Path, postgres: PostgresServer) -> PipelineConfig:
    place = LakeConfig(catalog=f"postgres:{postgres.new_database()}", data_path=str(tmp_path / "data"), table="events")
    return pipeline(tmp_path, lake=place.model_dump(by_alias=True))


@pytest.fixture
def two(config: PipelineConfig) -> Iterator[tuple[Lake, Lake]]:
    """Two sessions over one lake that knows the pipeline."""
    with open_lake(config.lake) as first, open_lake(config.lake) as second:
        ensure(first, config)
        yield first, second


def in_transaction(lake: Lake, *steps: Callable[[], object]) -> None:
    """All steps, then COMMIT: what another session does in one of them lands within the transaction."""
    with lake.transaction():
        for step in steps:
            step()


def move(lake: Lake) -> None:
    """What a run of the old layout does in its transaction."""
    lanes.move_lane(lake, OLD, MOVED)


def relay(lake: Lake) -> None:
    """What `apply_layout` does in its transaction, for two lanes."""
    claim(lake, "events")
    before = lanes.read_all(lake, "events")
    for state in rearranged(before, 2):
        if state.lane == 0:
            lanes.move_lane(lake, before[0], state)
        else:
            lanes.add_lane(lake, state)


def test_a_commit_that_lands_while_a_layout_is_applied_is_not_undone(two: tuple[Lake, Lake]) -> None:
    operator, run = two
    lanes.create_lane(operator, OLD)
    with pytest.raises(CommitConflict):
        in_transaction(operator, lambda: relay(operator), lambda: in_transaction(run, lambda: move(run)))
    _, now = apply_layout(operator, "events", 2, unstarted={}, run_id="operator")
    assert [state.offsets for state in now] == [{0: 11, 2: 11}, {1: 11, 3: 11}]


def test_a_layout_that_lands_while_a_run_commits_fences_it(two: tuple[Lake, Lake]) -> None:
    operator, run = two
    lanes.create_lane(operator, OLD)
    with pytest.raises(CommitConflict):
        in_transaction(
            run,
            lambda: move(run),
            lambda: apply_layout(operator, "events", 2, unstarted={}, run_id="operator"),
        )
    with pytest.raises(LaneFenced):
        in_transaction(run, lambda: move(run))
    assert [state.offsets for state in lanes.read_lanes(operator, "events")] == [{0: 10, 2: 10}, {1: 10, 3: 10}]


@pytest.mark.parametrize("first_layout", [2, 4])
def test_of_two_lanes_of_different_layouts_that_start_at_once_one_does(
    two: tuple[Lake, Lake], first_layout: int
) -> None:
    first, second = two
    winner = LaneState("events", 0, first_layout, 0, "topic-id-a", {0: Position(0)})
    loser = LaneState("events", 1, 6 - first_layout, 0, "topic-id-a", {1: Position(0)})
    with pytest.raises(CommitConflict):
        in_transaction(
            second,
            lambda: claim(second, "events"),
            lambda: lanes.add_lane(second, loser),
            lambda: lanes.create_lane(first, winner),
        )
    with pytest.raises(LayoutMismatch):
        lanes.create_lane(second, loser)
    assert lanes.read_all(first, "events") == (winner,)


def test_a_lane_that_starts_while_a_layout_is_applied_is_not_forgotten(two: tuple[Lake, Lake]) -> None:
    operator, run = two
    zero = LaneState("events", 0, 2, 0, "topic-id-a", {0: Position(10)})
    one = LaneState("events", 1, 2, 0, "topic-id-a", {1: Position(20)})
    lanes.create_lane(operator, zero)
    with pytest.raises(CommitConflict):
        in_transaction(
            operator,
            lambda: claim(operator, "events"),
            lambda: lanes.move_lane(operator, zero, *rearranged(lanes.read_all(operator, "events"), 1)),
            lambda: lanes.create_lane(run, one),
        )
    _, now = apply_layout(operator, "events", 1, unstarted={}, run_id="operator")
    assert [state.offsets for state in now] == [{0: 10, 1: 20}]
