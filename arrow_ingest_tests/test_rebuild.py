"""A day made anew from the log: the same rows, whatever happens to the rebuild, or nothing changed and the reason."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from arrow_ingest.config import PipelineConfig
from arrow_ingest.errors import LaneBusy, MaintenanceBusy, RebuildRefused
from arrow_ingest.lake.catalog import catalog_of
from arrow_ingest.lake.dead_letter_query import Wanted
from arrow_ingest.lake.ledger import commits_since, partition_totals
from arrow_ingest.lake.rebuild_scope import Run, Scope
from arrow_ingest.lake.session import open_lake
from arrow_ingest.lake.statistics import rows_by_partition
from arrow_ingest.pipeline.drain import drain
from arrow_ingest.pipeline.interventions import rebase
from arrow_ingest.pipeline.rebuild import check_log_covers, rebuild
from arrow_ingest.pipeline.rebuild_choice import between
from arrow_ingest.producer.arrow import ArrowProducer
from arrow_ingest.producer.events import EventGenerator
from arrow_ingest.values import CommitKind, LaneState, Point, Position, TopicState
from arrow_ingest_tests.lake_contents import (
    PARTITIONS,
    assert_holds_exactly,
    assert_verified,
    drained,
    make_topic_again,
    pipeline,
    produce,
    query,
)
from arrow_ingest_tests.no_locks import no_lane_locks
from arrow_ingest_tests.repairs import DAY, event_generator, offsets_of, rebuilt, refusing, replayed, rows_of

MESSAGES = 16


@pytest.fixture
def generator() -> EventGenerator:
    return event_generator()


@pytest.fixture
def config(tmp_path: Path, broker: Any, topic: Any) -> PipelineConfig:
    return pipeline(tmp_path, broker.bootstrap_servers, topic(partitions=PARTITIONS))


def files_of(config: PipelineConfig) -> set[str]:
    listed = query(config, "SELECT data_file, delete_file FROM ducklake_list_files('lake', 'events')").to_pylist()
    assert all(file["delete_file"] is None for file in listed)
    return {file["data_file"] for file in listed}


def damage(config: PipelineConfig, statement: str) -> None:
    with open_lake(config.lake) as lake:
        lake.execute(statement)


def test_a_day_rebuilt_twice_has_the_same_rows_in_whole_new_files(
    config: PipelineConfig, generator: EventGenerator
) -> None:
    produce(config, generator, range(MESSAGES))
    drained(config)
    before, files, offsets = rows_of(config), files_of(config), offsets_of(config)
    for _ in range(2):
        [receipt] = rebuilt(config, DAY)
        assert rows_of(config).equals(before)
        assert [(part.value, part.rows) for part in receipt.touched] == [(DAY, rows_of(config, DAY).num_rows)]
    kept = {file for file in files if "day=19/" not in file}
    assert files & files_of(config) == kept
    assert kept
    assert offsets_of(config) == offsets
    assert not list(Path(config.lake.data_path).rglob("*-delete.parquet"))
    assert_verified(config)
    with open_lake(config.lake, read_only=True) as lake:
        entry = commits_since(lake, config.name, 0)[-1]
        assert (entry.kind, entry.ranges, entry.tally.messages, entry.tally.rows) == (CommitKind.REBUILD, (), 0, 0)
        totals = partition_totals(lake, config.name)
        assert totals[DAY].last_snapshot == receipt.snapshot_id
        assert all(total.last_snapshot < receipt.snapshot_id for key, total in totals.items() if key != DAY)
        assert (totals[DAY].files, totals[DAY].size_bytes) == (receipt.files, receipt.bytes_on_disk)
        with lake.snapshot():
            by_day = rows_by_partition(lake, config.lake, config.partition_by)
        assert by_day == {key: total.rows for key, total in totals.items()}
    produce(config, generator, range(MESSAGES, 20))
    drained(config)
    assert_holds_exactly(config, generator, 20)


def test_what_others_did_to_a_day_is_undone(config: PipelineConfig, generator: EventGenerator) -> None:
    produce(config, generator, range(MESSAGES))
    drained(config)
    before = rows_of(config)
    damage(config, f"DELETE FROM lake.main.events WHERE timestamp::DATE = DATE '{DAY}' AND _kafka_row % 3 = 0")
    damage(
        config, f"UPDATE lake.main.events SET event = 'x' WHERE timestamp::DATE = DATE '{DAY}' AND _kafka_row % 5 = 1"
    )
    damage(
        config,
        "INSERT INTO lake.main.events FROM lake.main.events "
        f"WHERE timestamp::DATE = DATE '{DAY}' AND _kafka_row = 2 LIMIT 2",
    )
    assert not rows_of(config).equals(before)
    rebuilt(config, DAY)
    assert rows_of(config).equals(before)
    assert_verified(config)


def test_a_range_is_rebuilt_day_by_day(config: PipelineConfig, generator: EventGenerator) -> None:
    produce(config, generator, range(MESSAGES))
    drained(config)
    before = rows_of(config)
    receipts = list(rebuild(config, between("2026-11-18", DAY), run_id="operator", wait_seconds=0))
    days = [part.value for receipt in receipts for part in receipt.touched]
    assert days == sorted(days)
    assert set(days) <= {"2026-11-18", DAY}
    assert DAY in days
    assert rows_of(config).equals(before)
    assert rebuilt(config, "2020-01-01") == []


def test_rows_of_earlier_generations_and_of_others_stay(config: PipelineConfig, generator: EventGenerator) -> None:
    produce(config, generator, range(8))
    drained(config)
    make_topic_again(config)
    rebase(config, 0, run_id="operator")
    produce(config, generator, range(8, MESSAGES))
    drained(config)
    damage(
        config, f"INSERT INTO lake.main.events (event, timestamp) VALUES ('by hand', TIMESTAMPTZ '{DAY} 03:00:00+00')"
    )
    before = rows_of(config)
    assert {0, 1, None} == set(before.column("_kafka_generation").to_pylist())
    rebuilt(config, DAY)
    assert rows_of(config).equals(before)


def test_dead_letters_stay_dead_and_replayed_ones_stay_rows(config: PipelineConfig, generator: EventGenerator) -> None:
    strict = refusing(config)
    for indices, taken_by in ((range(8), config), (range(8, 12), strict), (range(12, MESSAGES), config)):
        produce(config, generator, indices)
        drained(taken_by)
    before = rows_of(config)
    rebuilt(config, DAY)
    assert rows_of(config).equals(before), "a message that is a dead letter would be accepted now, and is none of ours"
    assert_verified(config)
    replayed(config, Wanted(limit=2))
    before = rows_of(config)
    rebuilt(config, DAY)
    assert rows_of(config).equals(before)
    assert_verified(config)
    replayed(config)
    assert_holds_exactly(config, generator, MESSAGES)


def test_refused_with_the_reason_when_the_log_says_something_else_now(
    config: PipelineConfig, generator: EventGenerator
) -> None:
    produce(config, generator, range(8))
    drained(config)
    before = rows_of(config)
    with pytest.raises(RebuildRefused, match=r"the message at \d:\d had rows and is refused now \(too_many_rows"):
        rebuilt(refusing(config), DAY)
    # As after compaction: the ledger is made to say that a message more had rows.
    column = "table_partitions"
    more = f"[{{'value': t.value, 'rows': t.rows + 1, 'files': t.files, 'bytes': t.bytes}} FOR t IN {column}]"
    damage(config, f"UPDATE lake.arrow_ingest.commits SET {column} = {more}")
    with pytest.raises(RebuildRefused, match="messages are gone, by compaction say"):
        rebuilt(config, DAY)
    make_topic_again(config)
    with pytest.raises(RebuildRefused, match="was made again"):
        rebuilt(config, DAY)
    assert rows_of(config).equals(before)


@pytest.mark.parametrize(
    ("low", "high", "says"),
    [(5, 20, None), (6, 20, r"\[5, 9\) of Kafka partition 0, and the log holds \[6, 20\)"), (0, 8, r"holds \[0, 8\)")],
    ids=["covered", "retention has passed it", "its end is lost"],
)
def test_refused_when_the_log_no_longer_covers_what_the_table_holds(low: int, high: int, says: str | None) -> None:
    scope = Scope(DAY, {0: 0}, (), (Run(0, 5, 9, 0),), {})
    lane = LaneState("events", 0, 1, 0, "id", {0: Position(9)})
    topic = TopicState("events", "id", low={0: low}, high={0: high})
    if says is None:
        check_log_covers(scope, [lane], topic)
    else:
        with pytest.raises(RebuildRefused, match=says):
            check_log_covers(scope, [lane], topic)


def test_two_lanes_append_to_the_day_and_nothing_is_lost(config: PipelineConfig, generator: EventGenerator) -> None:
    config = config.model_copy(update={"lanes": 2})
    produce(config, generator, range(8))
    for lane in range(2):
        drained(config, lane=lane)
    produce(config, generator, range(8, MESSAGES))
    running = drain(config, lane=1, run_id="a-drain")
    next(running)
    with pytest.raises(LaneBusy, match="a-drain"):
        rebuilt(config, DAY)
    running.close()

    def at(point: Point) -> None:
        if point is Point.STAGED:
            for lane in range(2):
                with pytest.raises(LaneBusy, match="operator"):
                    drained(config, lane=lane)

    rebuilt(config, DAY, at=at)
    for lane in range(2):
        drained(config, lane=lane)
    assert_holds_exactly(config, generator, MESSAGES)
    assert_verified(config)


def test_lanes_whose_locks_were_lost_are_seen_by_the_fence(
    config: PipelineConfig, catalog: str, generator: EventGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Locks save work; that nothing is lost without them is the transaction's doing."""
    config = config.model_copy(update={"lake": config.lake.model_copy(update={"catalog": catalog})})
    monkeypatch.setattr("arrow_ingest.pipeline.rebuild.holding_lanes", no_lane_locks)
    produce(config, generator, range(8))
    drained(config)
    came: list[int] = []

    def at(point: Point) -> None:
        if point is Point.STAGED and not came:
            came.append(8)
            produce(config, generator, range(8, MESSAGES))
            drained(config)

    [receipt] = rebuilt(config, DAY, at=at)
    assert came
    assert_holds_exactly(config, generator, MESSAGES)
    assert receipt.touched[0].rows == rows_of(config, DAY).num_rows
    assert_verified(config)


def test_another_maintenance_makes_it_wait_and_it_is_told(config: PipelineConfig, generator: EventGenerator) -> None:
    produce(config, generator, range(8))
    drained(config)
    with catalog_of(config.lake).maintenance_lock(holder="a-merge"), pytest.raises(MaintenanceBusy, match="a-merge"):
        rebuilt(config, DAY)
    rebuilt(config, DAY)


def late(days: Sequence[str]) -> pa.RecordBatch:
    return pa.record_batch({"event": ["late"] * len(days), "timestamp": [f"{day}T02:00:00Z" for day in days]})


def test_a_day_of_few_distant_messages_is_read_in_several_passes(
    config: PipelineConfig, generator: EventGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("arrow_ingest.lake.rebuild_scope.GAP_OFFSETS", 0)
    for index in range(6):
        with ArrowProducer(config.kafka.topic, {"bootstrap.servers": config.kafka.bootstrap_servers}) as producer:
            producer.send(late([DAY if index % 2 else "2026-11-01", "2026-11-02"]), partition=index % 2)
            producer.send(generator.batch(index, 20), partition=0)
        drained(config)
    before = rows_of(config)
    for day in (DAY, "2026-11-01", "2026-11-02"):
        rebuilt(config, day)
        assert rows_of(config).equals(before)
    assert_verified(config)


@pytest.mark.parametrize(
    ("by", "whole"),
    [
        (None, True),
        ({"column": "event", "unit": "value"}, False),
        ({"column": "timestamp", "unit": "hour", "start": "2026-01-01"}, False),
    ],
    ids=["none", "value", "hour"],
)
def test_whatever_a_table_is_partitioned_by_it_stays_the_same(
    config: PipelineConfig, generator: EventGenerator, by: dict[str, str] | None, *, whole: bool
) -> None:
    config = PipelineConfig.model_validate({**config.model_dump(by_alias=True), "partition_by": by})
    produce(config, generator, range(8))
    drained(config)
    before = rows_of(config)
    with open_lake(config.lake, read_only=True) as lake:
        totals = partition_totals(lake, config.name)
    key = max(totals, key=str)
    [receipt] = rebuilt(config, *([] if key is None else [key]))
    assert [(part.value, part.rows) for part in receipt.touched] == [(key, totals[key].rows)]
    assert whole == (totals[key].rows == before.num_rows)
    assert rows_of(config).equals(before)
    assert_verified(config)
