"""The fenced transaction: one snapshot per micro-batch, once, whatever happens around it."""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from arrow_ingest.config import PipelineConfig
from arrow_ingest.errors import (
    CatalogUnavailable,
    CommitConflict,
    LaneFenced,
    OutcomeUnknown,
    Replan,
    StagedTooLongAgo,
    StageFailed,
    SuspendReason,
)
from arrow_ingest.lake import commit, lanes, ledger
from arrow_ingest.lake.commit import Committer, MicroBatch
from arrow_ingest.lake.dead_letters import stage_dead_letters
from arrow_ingest.lake.new_rows import StagedRows
from arrow_ingest.lake.schema import Column, TablePlan
from arrow_ingest.lake.session import Lake, open_lake
from arrow_ingest.lake.sqltypes import TIMESTAMPTZ
from arrow_ingest.lake.tables import read_table_schema
from arrow_ingest.values import (
    CommitKind,
    DeadLetter,
    LaneState,
    OffsetRange,
    Point,
    Position,
    Reason,
    Rejection,
    Tally,
    TouchedPartition,
)
from arrow_ingest_tests.lake_writers import (
    DAY,
    EVENTS,
    count_rows,
    finished,
    hold_write_lock,
    let_go,
    micro_batch,
    new_lane,
    pipeline,
    plan,
    stage,
    staged_files,
    start_python,
)

COMMIT_MANY = """
import json, sys
from arrow_ingest.config import PipelineConfig
from arrow_ingest.errors import LaneFenced
from arrow_ingest.lake import lanes
from arrow_ingest.lake.commit import Committer
from arrow_ingest.lake.session import open_lake
from arrow_ingest_tests.lake_writers import DAY, micro_batch, plan, stage
config, lane, commits = PipelineConfig.model_validate(json.loads(sys.argv[1])), int(sys.argv[2]), int(sys.argv[3])
landed = 0
with open_lake(config.lake) as lake, Committer(config.lake) as committer:
    sys.stdin.readline()
    for _ in range(commits):
        state, planned = lanes.read_lane(lake, config.name, lane), plan(lake, config)
        try:
            committer.commit(micro_batch(config, state, planned, [stage(config, planned, [DAY] * 3)]))
            landed += 1
        except LaneFenced:
            pass
print(landed)
"""


@dataclass(frozen=True)
class Room:
    """A lake with one lane at offset 0, and somebody who commits to it."""

    config: PipelineConfig
    lake: Lake
    state: LaneState
    committer: Committer

    def plan(self, incoming: pa.Schema = EVENTS) -> TablePlan:
        return plan(self.lake, self.config, incoming)

    def batch(self, rows: int = 3, *, before: LaneState | None = None) -> MicroBatch:
        planned = self.plan()
        return micro_batch(self.config, before or self.state, planned, [stage(self.config, planned, [DAY] * rows)])

    def count(self) -> int:
        return count_rows(self.lake, self.config)

    def lane(self) -> LaneState | None:
        return lanes.read_lane(self.lake, self.config.name, 0)

    def snapshot(self) -> int:
        ((snapshot,),) = self.lake.execute("SELECT id FROM ducklake_current_snapshot('lake')")
        return int(snapshot)


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    config = pipeline(tmp_path)
    with open_lake(config.lake) as lake, Committer(config.lake) as committer:
        yield Room(config, lake, new_lane(lake, config), committer)


def at_point(wanted: Point, act: Callable[[], object]) -> Callable[[Point], None]:
    """An observer that acts once, when ``wanted`` is reached for the first time."""
    acted = False

    def at(reached: Point) -> None:
        nonlocal acted
        if reached is wanted and not acted:
            acted = True
            act()

    return at


def test_rows_offsets_and_ledger_land_in_one_snapshot(room: Room) -> None:
    batch, before = room.batch(rows=5), room.snapshot()
    committed = room.committer.commit(batch)
    assert committed.snapshot_id == room.snapshot() == before + 1
    assert room.count() == 5
    assert room.lane() == batch.after
    (entry,) = ledger.commits_since(room.lake, "events", 0)
    assert (entry.snapshot_id, entry.committed_at) == (committed.snapshot_id, committed.committed_at)
    assert (entry.commit_id, entry.run_id, entry.kind) == (batch.commit_id, "test-run", CommitKind.INGEST)
    assert (entry.ranges, entry.tally) == ((OffsetRange(0, 0, 1), OffsetRange(1, 0, 1)), batch.tally)
    assert entry.touched == (TouchedPartition("2026-11-04", 5, 1, staged_files(batch)[0].size_bytes),)


def test_snapshot_says_who_and_why(room: Room) -> None:
    batch = room.batch()
    room.committer.commit(batch)
    ((author, message, extra),) = room.lake.execute(
        "SELECT author, commit_message, commit_extra_info FROM ducklake_snapshots('lake') "
        "ORDER BY snapshot_id DESC LIMIT 1"
    )
    assert (author, message) == ("arrow_ingest", "ingest: events, lane 0: 3 rows of 2 messages")
    told = json.loads(extra)
    assert (told["commit_id"], told["run_id"], told["ranges"]) == (batch.commit_id, "test-run", [[0, 0, 1], [1, 0, 1]])


def test_points_are_passed_in_order(room: Room) -> None:
    passed: list[Point] = []
    room.committer.commit(room.batch(), at=passed.append)
    assert passed == [Point.BEGUN, Point.FENCED, Point.FILES_ADDED, Point.LEDGER_WRITTEN]


def test_commits_make_no_file_of_their_own(room: Room) -> None:
    batch = room.batch()
    for _ in range(3):
        room.committer.commit(batch)
        batch = room.batch(before=batch.after)
    files = {
        path.relative_to(room.config.lake.data_path).parts[:2]
        for path in Path(room.config.lake.data_path).rglob("*.parquet")
    }
    assert files == {("main", "events")}


def test_offsets_move_without_rows(room: Room) -> None:
    planned = replace(room.plan(), base=None, target=pa.schema([]))
    batch = micro_batch(room.config, room.state, planned, [], tally=Tally(messages=2, empty=2))
    room.committer.commit(batch)
    assert room.lane() == batch.after
    assert read_table_schema(room.lake, room.config.lake) is None


def test_dead_letters_land_with_the_rows(room: Room) -> None:
    letter = DeadLetter(
        generation=0,
        partition=1,
        offset=7,
        timestamp_ms=None,
        key=b"k",
        headers=(("h", None), ("h", b"2")),
        payload=pa.py_buffer(b"bytes"),
        rejection=Rejection(Reason.FRAMING, "no end"),
    )
    batch = room.batch()
    file = stage_dead_letters([letter], room.config.lake, room.config.parquet, commit_id=batch.commit_id, lane=0)
    room.committer.commit(replace(batch, dead_letter_file=file))
    columns = '"partition", "offset", "key", headers, payload, reason, commit_id'
    assert room.lake.execute(f"SELECT {columns} FROM lake.main.events__dead_letters") == [
        (1, 7, b"k", [{"key": "h", "value": None}, {"key": "h", "value": b"2"}], b"bytes", "framing", batch.commit_id)
    ]
    assert room.count() == 3


# The fence


def test_of_two_writers_that_start_from_one_row_one_is_fenced(room: Room) -> None:
    first, second = room.batch(), room.batch()
    room.committer.commit(first)
    with Committer(room.config.lake) as other, pytest.raises(LaneFenced):
        other.commit(second)
    assert room.count() == 3
    assert len(ledger.commits_since(room.lake, "events", 0)) == 1


def test_suspended_lane_takes_no_commit(room: Room) -> None:
    batch = room.batch()
    lanes.suspend(room.lake, room.state, SuspendReason.TOPIC_RECREATED, "operator first")
    with pytest.raises(LaneFenced):
        room.committer.commit(batch)


def test_processes_on_one_lane_commit_every_offset_once(room: Room) -> None:
    room.committer.commit(room.batch())
    arguments = (room.config.model_dump_json(by_alias=True), "0", "4")
    landed = sum(int(out) for out in let_go(*(start_python(COMMIT_MANY, *arguments) for _ in range(2))))
    assert landed >= 4
    assert room.count() == 3 * (landed + 1)
    final = room.lane()
    assert final is not None
    assert final.offsets == {0: landed + 1, 1: landed + 1}


def test_lanes_commit_side_by_side(room: Room) -> None:
    room.committer.commit(room.batch())
    lanes.create_lane(room.lake, replace(room.state, lane=1, positions={2: Position(0)}))
    settings = room.config.model_dump_json(by_alias=True)
    children = [start_python(COMMIT_MANY, settings, lane, "4") for lane in ("0", "1")]
    assert let_go(*children) == ["4\n", "4\n"]
    assert room.count() == 3 * 9
    snapshots = [entry.snapshot_id for entry in ledger.commits_since(room.lake, "events", 0)]
    assert len(set(snapshots)) == 9


# Failures


@pytest.mark.parametrize("point", [Point.BEGUN, Point.FENCED, Point.FILES_ADDED, Point.LEDGER_WRITTEN])
def test_interruption_leaves_nothing_and_the_next_commit_lands(room: Room, point: Point) -> None:
    batch, before = room.batch(), room.snapshot()

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        room.committer.commit(batch, at=at_point(point, interrupt))
    assert (room.snapshot(), room.lane()) == (before, room.state)
    room.committer.commit(batch)
    assert room.count() == 3


@pytest.mark.parametrize("point", [Point.BEGUN, Point.FENCED, Point.FILES_ADDED, Point.LEDGER_WRITTEN])
def test_connection_lost_before_commit_is_tried_again(room: Room, point: Point) -> None:
    batch = room.batch()
    committed = room.committer.commit(batch, at=at_point(point, lambda: lose_connection(room.committer)))
    assert committed.attempts == 2
    assert room.count() == 3
    assert len(ledger.commits_since(room.lake, "events", 0)) == 1


def test_commit_that_a_foreign_writer_holds_up_lands_once_he_is_done(room: Room, tmp_path: Path) -> None:
    batch = room.batch()
    foreigner = hold_write_lock(tmp_path / "catalog.sqlite")
    passed: list[Point] = []

    def at(point: Point) -> None:
        passed.append(point)
        if passed.count(Point.LEDGER_WRITTEN) == 2 and foreigner.poll() is None:
            finished(foreigner)

    assert room.committer.commit(batch, at=at).attempts >= 2
    assert room.count() == 3


def test_lost_race_in_every_attempt_is_a_conflict(room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commit, "MAX_ATTEMPTS", 2)
    batch = room.batch()
    foreigner = hold_write_lock(tmp_path / "catalog.sqlite")
    with pytest.raises(CommitConflict):
        room.committer.commit(batch)
    finished(foreigner)
    room.committer.commit(batch)
    assert room.lane() == batch.after


def test_lost_answer_of_a_commit_that_landed_adds_no_rows(room: Room) -> None:
    batch = room.batch()

    def commit_and_lose_the_answer() -> None:
        session(room.committer).execute("COMMIT")
        lose_connection(room.committer)

    committed = room.committer.commit(batch, at=at_point(Point.LEDGER_WRITTEN, commit_and_lose_the_answer))
    assert committed.attempts == 2
    assert committed.snapshot_id == room.snapshot()
    assert room.count() == 3
    assert Path(staged_files(batch)[0].path).exists()
    room.committer.commit(room.batch(before=batch.after))
    assert room.count() == 6


def test_commit_that_is_tried_again_after_it_landed_is_found_not_repeated(room: Room) -> None:
    batch = room.batch()
    first = room.committer.commit(batch)
    with Committer(room.config.lake) as other:
        again = other.commit(batch)
    assert (again.snapshot_id, again.committed_at) == (first.snapshot_id, first.committed_at)
    assert room.count() == 3


@pytest.mark.parametrize(("sent", "raised"), [(True, OutcomeUnknown), (False, CatalogUnavailable)])
def test_catalog_that_stays_away_leaves_the_outcome_to_be_looked_up(
    room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: bool, raised: type[Exception]
) -> None:
    monkeypatch.setattr(commit, "MAX_ATTEMPTS", 3)
    batch = room.batch()
    room.lake.close()

    def take_the_catalog_away() -> None:
        lose_connection(room.committer)
        shutil.move(tmp_path / "catalog.sqlite", tmp_path / "gone")
        (tmp_path / "catalog.sqlite").mkdir()

    point = Point.LEDGER_WRITTEN if sent else Point.FENCED
    with pytest.raises(raised):
        room.committer.commit(batch, at=at_point(point, take_the_catalog_away))


def test_files_that_orphan_removal_could_take_are_not_committed(room: Room) -> None:
    batch = room.batch()
    old = replace(
        batch, rows=StagedRows((replace(staged_files(batch)[0], staged_at=datetime.now(UTC) - timedelta(hours=43)),))
    )
    with pytest.raises(StagedTooLongAgo):
        room.committer.commit(old)
    assert room.lane() == room.state


def test_a_run_that_stood_still_amid_its_transaction_does_not_commit_files_that_may_be_gone(room: Room) -> None:
    """Stopped for longer than the orphan guard, its lock lost, and nobody else has moved the lane."""
    room.committer.commit(room.batch())
    state = room.lane()
    assert state is not None
    batch, most = room.batch(before=state), timedelta(seconds=3)
    stood_still: list[datetime] = []

    def stand_still() -> None:
        while datetime.now(UTC) - staged_files(batch)[0].staged_at <= most:
            time.sleep(0.05)
        stood_still.append(datetime.now(UTC))

    with pytest.raises(StagedTooLongAgo):
        room.committer.commit(batch, at=at_point(Point.LEDGER_WRITTEN, stand_still), stale_after=most)
    assert stood_still, "it was too slow to begin"
    assert room.lane() == state


def test_file_that_does_not_fit_the_table_is_refused_and_nothing_lands(room: Room) -> None:
    room.committer.commit(room.batch())
    state = room.lane()
    assert state is not None
    batch = room.batch(before=state)
    Path(staged_files(batch)[0].path).write_bytes(b"not Parquet" * 100)
    with pytest.raises(StageFailed, match=staged_files(batch)[0].path):
        room.committer.commit(batch)
    assert room.lane() == state


# The schema


def test_column_is_added_and_widened_in_the_commit_that_brings_it(room: Room) -> None:
    old = pa.schema([*EVENTS, ("size", pa.int32()), ("props", pa.struct([("a", pa.int32())]))])
    new = pa.schema(
        [
            *EVENTS,
            ("size", pa.int64()),
            ("props", pa.struct([("a", pa.int32()), ("b c", pa.string())])),
            ("tag", pa.string()),
        ]
    )
    first = room.plan(old)
    batch = micro_batch(room.config, room.state, first, [stage(room.config, first, [DAY], size=[1], props=[{"a": 1}])])
    room.committer.commit(batch)
    second = room.plan(new)
    columns = {"size": [2**40], "props": [{"a": 2, "b c": "x"}], "tag": ["t"]}
    batch = micro_batch(room.config, batch.after, second, [stage(room.config, second, [DAY], **columns)])
    snapshot = room.committer.commit(batch).snapshot_id
    assert room.lake.execute("SELECT size, props, tag FROM lake.main.events ORDER BY size") == [
        (1, {"a": 1, "b c": None}, None),
        (2**40, {"a": 2, "b c": "x"}, "t"),
    ]
    assert room.lake.execute(f"SELECT count(*) FROM lake.main.events AT (VERSION => {snapshot - 1})") == [(1,)]


def test_pipelined_micro_batches_plan_on_what_the_one_before_makes(room: Room) -> None:
    first = room.plan()
    batch = micro_batch(room.config, room.state, first, [stage(room.config, first, [DAY])])
    second = first.committed().extend(pa.schema([*EVENTS, ("more", pa.list_(pa.int8()))]))
    assert isinstance(second, TablePlan)
    follower = micro_batch(room.config, batch.after, second, [stage(room.config, second, [DAY], more=[[1]])])
    for staged in (batch, follower):
        room.committer.commit(staged)
    assert room.lake.execute("SELECT more FROM lake.main.events ORDER BY ALL") == [([1],), (None,)]


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE lake.main.events ADD COLUMN tag INTEGER",
        "ALTER TABLE lake.main.events DROP COLUMN event",
        "ALTER TABLE lake.main.events RENAME TO other",
    ],
)
def test_table_that_others_changed_meanwhile_is_planned_again(room: Room, change: str) -> None:
    first = room.batch()
    room.committer.commit(first)
    second = room.batch(before=first.after)
    room.lake.execute(change)
    with pytest.raises(Replan):
        room.committer.commit(second)
    assert room.lane() == first.after


def test_table_that_others_made_meanwhile_is_planned_again(room: Room) -> None:
    batch = room.batch()
    room.lake.execute("CREATE TABLE lake.main.events (event VARCHAR)")
    with pytest.raises(Replan):
        room.committer.commit(batch)


def test_created_table_reads_back_as_planned_for_every_type_that_is_staged(room: Room) -> None:
    kinds = [
        *(
            pa.bool_(),
            pa.int8(),
            pa.int16(),
            pa.uint8(),
            pa.uint16(),
            pa.uint32(),
            pa.uint64(),
            pa.float32(),
            pa.float64(),
        ),
        *(
            pa.binary(),
            pa.date32(),
            pa.time64("us"),
            TIMESTAMPTZ,
            *(pa.timestamp(unit) for unit in ("s", "ms", "us", "ns")),
        ),
        *(pa.decimal128(38, 10), pa.list_(pa.string()), pa.map_(pa.string(), pa.int32())),
        pa.struct([('quote " and, comma', pa.list_(pa.struct([("select", pa.decimal128(5, 2))])))]),
    ]
    planned = room.plan(pa.schema([*EVENTS, *((f"c {number}", kind) for number, kind in enumerate(kinds))]))
    batch = micro_batch(room.config, room.state, planned, [stage(room.config, planned, [DAY])])
    room.committer.commit(batch)
    assert read_table_schema(room.lake, room.config.lake) == planned.table


def test_columns_of_foreign_types_read_as_null(room: Room) -> None:
    first = room.batch()
    room.committer.commit(first)
    room.lake.execute("ALTER TABLE lake.main.events ADD COLUMN theirs UUID")
    second = room.batch(before=first.after)
    room.committer.commit(second)
    assert room.lake.execute("SELECT count(*), count(theirs) FROM lake.main.events") == [(6, 0)]
    schema = read_table_schema(room.lake, room.config.lake)
    assert schema is not None
    assert Column("theirs", "UUID") in schema.columns


def session(committer: Committer) -> Lake:
    assert committer._lake is not None
    return committer._lake


def lose_connection(committer: Committer) -> None:
    session(committer).close()
