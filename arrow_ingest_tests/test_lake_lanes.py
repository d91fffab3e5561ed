"""The lanes' rows: created once, moved only from what was read, suspended, resumed and rebased under the fence."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from arrow_ingest.config import PipelineConfig
from arrow_ingest.errors import LaneFenced, SuspendReason
from arrow_ingest.lake import lanes
from arrow_ingest.lake.ledger import commits_since
from arrow_ingest.lake.session import Lake, open_lake
from arrow_ingest.lake.tables import ensure
from arrow_ingest.values import CommitKind, LaneState, OffsetRange, Position
from arrow_ingest_tests.lake_writers import pipeline

_names = itertools.count()


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> PipelineConfig:
    return pipeline(tmp_path_factory.mktemp("lanes"))


@pytest.fixture(scope="module")
def lake(config: PipelineConfig) -> Iterator[Lake]:
    """One lake for all tests here: each has a pipeline of its own in it."""
    with open_lake(config.lake) as opened:
        ensure(opened, config)
        yield opened


@pytest.fixture
def state(lake: Lake, tmp_path: Path) -> LaneState:
    """Lane 0 of a new pipeline, at offset 0 of two partitions."""
    created = LaneState(
        pipeline=registered(lake, tmp_path, f"pipeline{next(_names)}"),
        lane=0,
        layout=12,
        generation=0,
        topic_id="topic-id-a",
        positions={0: Position(0), 1: Position(0)},
    )
    lanes.create_lane(lake, created)
    return created


def registered(lake: Lake, tmp_path: Path, name: str) -> str:
    """The name of a pipeline that the lake knows, with a table of its own."""
    place = {"catalog": "sqlite:unused", "data_path": "unused", "table": name}
    ensure(lake, pipeline(tmp_path, name=name, lake=place))
    return name


def test_lane_reads_back_as_it_was_written(lake: Lake, state: LaneState) -> None:
    written = replace(state, positions={0: Position(5, 3), 1: Position(7, 4)})
    with lake.transaction():
        lanes.move_lane(lake, state, written)
    assert lanes.read_lane(lake, state.pipeline, 0) == written


def test_lane_that_was_never_started_is_none(lake: Lake, state: LaneState) -> None:
    assert lanes.read_lane(lake, state.pipeline, 1) is None
    assert lanes.read_lanes(lake, "other") == ()


def test_lanes_of_pipelines_with_similar_names_are_kept_apart(lake: Lake, state: LaneState, tmp_path: Path) -> None:
    name = state.pipeline
    for other in (f"{name}_1", f"{name}_"):
        registered(lake, tmp_path, other)
    for other, lane in ((name, 10), (f"{name}_1", 0), (f"{name}_1", 2), (f"{name}_", 0)):
        lanes.create_lane(lake, replace(state, pipeline=other, lane=lane))
    assert [found.lane for found in lanes.read_lanes(lake, name)] == [0, 10]
    assert [(found.pipeline, found.lane) for found in lanes.read_lanes(lake, f"{name}_1")] == [
        (f"{name}_1", 0),
        (f"{name}_1", 2),
    ]


def test_lane_without_partitions_moves_too(lake: Lake, state: LaneState) -> None:
    empty = replace(state, lane=3, positions={})
    lanes.create_lane(lake, empty)
    suspended = lanes.suspend(lake, empty, SuspendReason.CORRUPT_RECORD, "never")
    assert lanes.read_lane(lake, state.pipeline, 3) == suspended


def test_lane_is_created_once(lake: Lake, state: LaneState) -> None:
    with pytest.raises(LaneFenced):
        lanes.create_lane(lake, replace(state, positions={0: Position(99)}))
    assert lanes.read_lane(lake, state.pipeline, 0) == state


@pytest.mark.parametrize(
    "stale",
    [
        lambda state: replace(state, layout=13),
        lambda state: replace(state, generation=1),
        lambda state: replace(state, topic_id="topic-id-b"),
        lambda state: replace(state, positions={0: Position(0), 1: Position(1)}),
        lambda state: replace(state, positions={0: Position(0), 2: Position(0)}),
        lambda state: replace(state, positions={0: Position(0)}),
        lambda state: replace(state, suspended=SuspendReason.LOG_TRUNCATED),
    ],
)
def test_writer_that_started_from_anything_else_is_fenced(
    lake: Lake, state: LaneState, stale: Callable[[LaneState], LaneState]
) -> None:
    with pytest.raises(LaneFenced), lake.transaction():
        lanes.move_lane(lake, stale(state), replace(state, positions={0: Position(50), 1: Position(50)}))
    assert lanes.read_lane(lake, state.pipeline, 0) == state


def test_suspended_lane_says_why_and_keeps_its_positions(lake: Lake, state: LaneState) -> None:
    lanes.suspend(lake, state, SuspendReason.LOG_TRUNCATED, "partition 0: [5, 9) is gone")
    found = lanes.read_lane(lake, state.pipeline, 0)
    assert found == replace(state, suspended=SuspendReason.LOG_TRUNCATED, reason="partition 0: [5, 9) is gone")


def test_suspending_a_lane_that_moved_on_is_fenced(lake: Lake, state: LaneState) -> None:
    with lake.transaction():
        lanes.move_lane(lake, state, replace(state, positions={0: Position(1), 1: Position(1)}))
    with pytest.raises(LaneFenced):
        lanes.suspend(lake, state, SuspendReason.LOG_TRUNCATED, "too late")


def test_resume_in_place_writes_no_gap(lake: Lake, state: LaneState) -> None:
    suspended = lanes.suspend(lake, state, SuspendReason.DEAD_LETTER_BUDGET, "too many")
    assert lanes.resume(lake, suspended, run_id="operator") == state
    assert lanes.read_lane(lake, state.pipeline, 0) == state
    assert commits_since(lake, state.pipeline, 0) == ()


def test_resume_further_on_writes_the_gap_into_the_ledger(lake: Lake, state: LaneState) -> None:
    suspended = lanes.suspend(lake, state, SuspendReason.LOG_TRUNCATED, "gone")
    resumed = lanes.resume(lake, suspended, positions={0: Position(40), 1: Position(0)}, run_id="operator")
    assert lanes.read_lane(lake, state.pipeline, 0) == resumed
    (gap,) = commits_since(lake, state.pipeline, 0)
    assert (gap.kind, gap.ranges, gap.run_id) == (CommitKind.GAP, (OffsetRange(0, 0, 40),), "operator")
    assert resumed.offsets == {0: 40, 1: 0}


def test_resume_never_goes_back(lake: Lake, state: LaneState) -> None:
    ahead = replace(state, positions={0: Position(9), 1: Position(9)})
    with lake.transaction():
        lanes.move_lane(lake, state, ahead)
    with pytest.raises(ValueError, match="twice"):
        lanes.resume(lake, ahead, positions={0: Position(8), 1: Position(9)}, run_id="operator")


def test_resume_drops_a_partition_that_is_no_more(lake: Lake, state: LaneState) -> None:
    suspended = lanes.suspend(lake, state, SuspendReason.PARTITION_REMOVED, "partition 1")
    resumed = lanes.resume(lake, suspended, positions={0: Position(0)}, run_id="operator")
    assert resumed.offsets == {0: 0}
    assert lanes.read_lane(lake, state.pipeline, 0) == resumed


def test_rebase_begins_a_new_generation_and_says_so_in_the_ledger(lake: Lake, state: LaneState) -> None:
    suspended = lanes.suspend(lake, state, SuspendReason.TOPIC_RECREATED, "another id")
    rebased = lanes.rebase(
        lake, suspended, topic_id="topic-id-b", positions={0: Position(2), 1: Position(0)}, run_id="operator"
    )
    assert lanes.read_lane(lake, state.pipeline, 0) == rebased
    assert (rebased.generation, rebased.topic_id, rebased.suspended, rebased.offsets) == (
        1,
        "topic-id-b",
        None,
        {0: 2, 1: 0},
    )
    (entry,) = commits_since(lake, state.pipeline, 0)
    assert (entry.kind, entry.generation, entry.topic_id, entry.ranges) == (CommitKind.REBASE, 1, "topic-id-b", ())


def test_of_two_operators_one_is_fenced(lake: Lake, config: PipelineConfig, state: LaneState) -> None:
    suspended = lanes.suspend(lake, state, SuspendReason.TOPIC_RECREATED, "another id")
    with open_lake(config.lake) as other:
        lanes.rebase(other, suspended, topic_id="b", positions={0: Position(0)}, run_id="first")
    with pytest.raises(LaneFenced):
        lanes.resume(lake, suspended, run_id="second")
    assert len(commits_since(lake, state.pipeline, 0)) == 1
