"""`writer: insert`: the same table, ledger and guarantees, by files that DuckDB writes."""

import signal
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from pydantic import ValidationError

from arrow_ingest.config import PipelineConfig
from arrow_ingest.lake.ledger import partition_totals
from arrow_ingest.lake.session import open_lake
from arrow_ingest.producer.arrow import ArrowProducer
from arrow_ingest.producer.events import EventGenerator
from arrow_ingest.values import Point
from arrow_ingest_tests.lake_contents import (
    assert_holds_exactly,
    assert_verified,
    drain_in_a_process,
    drained,
    pipeline,
    produce,
    query,
)
from arrow_ingest_tests.worlds import World

MESSAGES = 24
DAYS = (20761, None, -735160, 20762, -703383)
"""2026-11-04, NULL, 0044-03-15 (BC), 2026-11-05, 0044-03-15: to DuckLake the third and the last are one partition."""


@pytest.fixture
def generator() -> EventGenerator:
    return EventGenerator(seed=7, now=datetime(2026, 11, 20, 12, tzinfo=UTC), days=3)


@pytest.fixture
def config(world: World) -> PipelineConfig:
    return world.pipeline(writer="insert")


def send(config: PipelineConfig, *batches: pa.RecordBatch) -> None:
    with ArrowProducer(config.kafka.topic, {"bootstrap.servers": config.kafka.bootstrap_servers}) as producer:
        for batch in batches:
            producer.send(batch, partition=0)


def totals(config: PipelineConfig) -> dict[str | None, tuple[int, int]]:
    """Rows and files of each table partition by the ledger."""
    with open_lake(config.lake, read_only=True) as lake:
        return {value: (total.rows, total.files) for value, total in partition_totals(lake, config.name).items()}


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


def test_ledger_and_receipts_know_rows_files_and_bytes_of_each_partition(
    world: World, config: PipelineConfig, generator: EventGenerator
) -> None:
    produce(config, generator, range(MESSAGES))
    commits = drained(config)
    assert len(commits) > 1
    found = query(
        config,
        "SELECT strftime(timestamp, '%Y-%m-%d') AS day, count(*) AS n, count(DISTINCT filename) AS files "
        "FROM lake.main.events GROUP BY 1",
    ).to_pylist()
    assert totals(config) == {row["day"]: (row["n"], row["files"]) for row in found}
    files = world.data_files()
    assert sum(receipt.bytes_on_disk for receipt in commits) == sum(file.stat().st_size for file in files)
    assert sum(receipt.files for receipt in commits) == len(files)


def test_new_columns_poison_and_strange_times_are_committed_together(config: PipelineConfig) -> None:
    times = pa.array(DAYS, pa.date32()).cast(pa.timestamp("us", "UTC"))
    plain = pa.record_batch({"timestamp": times, "n": pa.array(range(5), pa.int32())})
    wider = pa.record_batch({"timestamp": plain["timestamp"], "N": pa.array(range(5)), "plan": pa.array(["pro"] * 5)})
    send(config, plain, wider, plain.drop_columns(["n"]).append_column("n", pa.array(["x"] * 5)))
    [receipt] = drained(config)
    assert (receipt.tally.rows, receipt.tally.dead) == (10, 1)
    assert any("plan VARCHAR" in change for change in receipt.schema_changes)
    found = query(config, "SELECT n, plan FROM lake.main.events ORDER BY _kafka_offset, _kafka_row").to_pylist()
    assert [row["n"] for row in found] == [*range(5), *range(5)]
    assert [row["plan"] for row in found] == [None] * 5 + ["pro"] * 5
    rows = {value: rows for value, (rows, _) in totals(config).items()}
    assert rows == {"2026-11-04": 2, "2026-11-05": 2, "0044-03-15": 2, None: 4}
    assert_verified(config)


def test_columns_that_hide_the_names_of_files_cost_only_their_count(config: PipelineConfig) -> None:
    times = pa.array([20761, None], pa.date32()).cast(pa.timestamp("us", "UTC"))
    send(config, pa.record_batch({"timestamp": times, "FileName": ["a", "b"]}))
    [receipt] = drained(config)
    assert (receipt.tally.rows, receipt.files) == (2, 0)
    assert totals(config) == {"2026-11-04": (1, 0), None: (1, 0)}
    assert_verified(config)


def test_memory_over_its_bound_is_committed_before_the_flush_is_due(world: World, generator: EventGenerator) -> None:
    config = world.pipeline(
        writer="insert",
        flush={"max_bytes": "1MiB", "max_age_seconds": 3600},
        limits={"max_message_bytes": "1MiB"},
        max_in_flight_bytes="1MiB",
    )
    batch = generator.batch(0, 200)
    with ArrowProducer(
        config.kafka.topic, {"bootstrap.servers": config.kafka.bootstrap_servers}, compression="zstd"
    ) as producer:
        for _ in range(40):
            producer.send(batch, partition=0)
    commits = drained(config)
    assert sum(receipt.tally.rows for receipt in commits) == 40 * 200
    assert sum(receipt.bytes_received for receipt in commits) / len(commits) < 2**20


def test_on_postgres_it_is_refused_since_it_cannot_keep_its_promise_there(tmp_path: Path) -> None:
    lake = {"catalog": "postgres:dbname=lake", "data_path": "data", "table": "t"}
    with pytest.raises(ValidationError, match="accept_unsafe_commit: true"):
        pipeline(tmp_path, "127.0.0.1:1", "events", writer="insert", lake=lake)


def test_an_unsafe_commit_can_be_accepted(tmp_path: Path) -> None:
    lake = {"catalog": "postgres:dbname=lake", "data_path": "data", "table": "t"}
    config = pipeline(tmp_path, "127.0.0.1:1", "events", writer="insert", accept_unsafe_commit=True, lake=lake)
    assert config.writer == "insert"
