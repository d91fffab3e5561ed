"""The catalog in PostgreSQL: locks, lanes side by side, lost races, lost answers. Run by `make test-postgres`."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pyarrow as pa
import pytest

from arrow_ingest.config import LakeConfig, PipelineConfig
from arrow_ingest.errors import CatalogUnavailable, ConfigError, LaneBusy, LaneLockLost, Replan
from arrow_ingest.lake import lanes
from arrow_ingest.lake.catalog import Catalog, catalog_of
from arrow_ingest.lake.commit import Committer, MicroBatch
from arrow_ingest.lake.engine import connected
from arrow_ingest.lake.engine_errors import is_conflict
from arrow_ingest.lake.ledger import commits_since
from arrow_ingest.lake.session import Lake, open_lake
from arrow_ingest.lake.sql import attach
from arrow_ingest.lake.store import store_of
from arrow_ingest.producer.events import EventGenerator
from arrow_ingest.stack.postgres import PostgresServer
from arrow_ingest.values import LaneState, Point
from arrow_ingest_tests import lake_writers
from arrow_ingest_tests.lake_contents import (
    PARTITIONS,
    assert_holds_exactly,
    assert_verified,
    drained,
    pipeline,
    produce,
    query,
)
from arrow_ingest_tests.lake_writers import DAY, EVENTS, let_go, micro_batch, new_lane, plan, stage, start_python
from arrow_ingest_tests.postgres_proxy import Fault, PostgresProxy

pytestmark = pytest.mark.postgres

MESSAGES = 24

DRAIN = """
import json, sys
from arrow_ingest.config import PipelineConfig
from arrow_ingest.pipeline.drain import drain
config = PipelineConfig.model_validate(json.loads(sys.argv[1]))
sys.stdin.readline()
for receipt in drain(config, lane=int(sys.argv[2]), run_id="child"):
    if receipt is not None:
        print(receipt.snapshot_id)
"""

CONTEST = """
import json, sys
from arrow_ingest.config import PipelineConfig
from arrow_ingest.errors import LaneFenced
from arrow_ingest.lake import lanes
from arrow_ingest.lake.commit import Committer
from arrow_ingest.lake.session import open_lake
from arrow_ingest_tests.lake_writers import DAY, micro_batch, plan, stage
config, landed = PipelineConfig.model_validate(json.loads(sys.argv[1])), 0
with open_lake(config.lake) as lake, Committer(config.lake) as committer:
    sys.stdin.readline()
    for _ in range(8):
        state, planned = lanes.read_lane(lake, config.name, 0), plan(lake, config)
        try:
            committer.commit(micro_batch(config, state, planned, [stage(config, planned, [DAY] * 3)]))
            landed += 1
        except LaneFenced:
            pass
print(landed)
"""


@pytest.fixture
def generator() -> EventGenerator:
    return EventGenerator(seed=7, now=datetime(2026, 11, 20, 12, tzinfo=UTC), days=3)


@pytest.fixture
def dsn(postgres: PostgresServer) -> str:
    return postgres.new_database()


@pytest.fixture
def lake(tmp_path: Path, dsn: str) -> LakeConfig:
    return LakeConfig(catalog=f"postgres:{dsn}", data_path=str(tmp_path / "data"), table="events")


@pytest.fixture
def config(tmp_path: Path, broker: Any, topic: Any, lake: LakeConfig) -> PipelineConfig:
    """A pipeline of a real topic."""
    return pipeline(tmp_path, broker.bootstrap_servers, topic(partitions=PARTITIONS), catalog=lake.catalog)


@pytest.fixture
def catalog_here(lake: LakeConfig) -> Catalog:
    return catalog_of(lake)


@pytest.fixture
def room(tmp_path: Path, lake: LakeConfig) -> PipelineConfig:
    """A pipeline whose micro-batches are made by hand."""
    return lake_writers.pipeline(tmp_path, lake=lake.model_dump(by_alias=True))


def end_sessions(dsn: str, *, of: str) -> None:
    """Let the server end the sessions whose application's name begins so."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid() AND starts_with(application_name, %s)",
            [of],
        )


def with_column(lake: Lake, config: PipelineConfig, before: LaneState, name: str) -> MicroBatch:
    """A micro-batch of one row that brings a column."""
    planned = plan(lake, config, EVENTS.append(pa.field(name, pa.string())))
    return micro_batch(config, before, planned, [stage(config, planned, [DAY], **{name: ["new"]})])


def settings(config: PipelineConfig) -> str:
    return json.dumps(config.model_dump(mode="json", by_alias=True))


# Passwords and addresses


def test_password_comes_from_the_environment_and_is_shown_nowhere(
    postgres: PostgresServer, dsn: str, lake: LakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    postgres.execute("DROP ROLE IF EXISTS ann")
    postgres.execute("CREATE ROLE ann SUPERUSER LOGIN PASSWORD 'hidden-word'")
    anns = lake.model_copy(update={"catalog": f"postgres:{dsn} user=ann"})
    with pytest.raises(CatalogUnavailable, match="PGPASSWORD"):
        open_lake(anns)
    passwords = tmp_path / "passwords"
    passwords.write_text("*:*:*:ann:hidden-word\n")
    passwords.chmod(0o600)
    for name, value in (("PGPASSFILE", str(passwords)), ("PGPASSWORD", "hidden-word")):
        with monkeypatch.context() as environment:
            environment.setenv(name, value)
            with open_lake(anns) as opened, catalog_of(anns).lane_lock("events", 0, holder="ann"):
                assert "hidden-word" not in str(opened.execute("FROM duckdb_databases()"))


def test_lake_is_made_by_the_first_writer(lake: LakeConfig, catalog_here: Catalog) -> None:
    assert not catalog_here.exists()
    with pytest.raises(CatalogUnavailable, match="first run makes it"):
        open_lake(lake, read_only=True)
    open_lake(lake).close()
    assert catalog_here.exists()


def test_server_that_is_down_is_unavailable(postgres: PostgresServer, lake: LakeConfig) -> None:
    with PostgresProxy(postgres.port, Fault.COMMIT_LOST) as gone:
        pass
    away = lake.model_copy(update={"catalog": f"postgres:{postgres.dsn(port=gone.port)}"})
    with pytest.raises(CatalogUnavailable, match=str(gone.port)):
        open_lake(away)


# Locks


def test_lane_is_busy_while_another_session_holds_it_and_says_who(catalog_here: Catalog) -> None:
    with catalog_here.lane_lock("events", 0, holder="first"):
        with pytest.raises(LaneBusy, match="run first"), catalog_here.lane_lock("events", 0, holder="second"):
            pass
        with catalog_here.lane_lock("events", 1, holder="second"), catalog_here.lane_lock("other", 0, holder="third"):
            pass
    with catalog_here.lane_lock("events", 0, holder="second") as held:
        held.check()


def test_second_publisher_is_told_to_skip(catalog_here: Catalog) -> None:
    with catalog_here.publisher_lock("events") as first, catalog_here.publisher_lock("events") as second:
        assert (first, second) == (True, False)


def test_pooler_before_the_server_is_refused(postgres: PostgresServer, lake: LakeConfig) -> None:
    with PostgresProxy(postgres.port, Fault.OTHER_PROCESS_ID) as pooler:
        pooled = lake.model_copy(update={"catalog": f"postgres:{postgres.dsn(port=pooler.port)}"})
        with pytest.raises(ConfigError, match="pooler"), catalog_of(pooled).lane_lock("events", 0, holder="us"):
            pass


def test_run_whose_lane_lock_is_lost_commits_nothing_more(
    config: PipelineConfig, dsn: str, generator: EventGenerator
) -> None:
    produce(config, generator, range(MESSAGES))

    def at(point: Point) -> None:
        if point is Point.STAGED:
            end_sessions(dsn, of="arrow_ingest run")

    with pytest.raises(LaneLockLost):
        drained(config, at=at)
    assert query(config, "SELECT count(*) AS n FROM lake.arrow_ingest.commits").to_pylist() == [{"n": 0}]
    drained(config)
    assert_holds_exactly(config, generator, MESSAGES)


# Lanes and races


def test_two_lanes_start_and_commit_side_by_side_exactly_once(
    config: PipelineConfig, generator: EventGenerator
) -> None:
    flush = config.flush.model_copy(update={"max_bytes": 1_000})
    config = config.model_copy(update={"lanes": 2, "flush": flush})
    produce(config, generator, range(2 * MESSAGES))
    said = let_go(*(start_python(DRAIN, settings(config), str(lane)) for lane in range(2)))
    assert all(len(lines.split()) > 1 for lines in said)
    assert_holds_exactly(config, generator, 2 * MESSAGES)
    assert_verified(config)


def test_contested_lane_takes_each_commit_once(room: PipelineConfig) -> None:
    with open_lake(room.lake) as lake:
        new_lane(lake, room)
        said = let_go(*(start_python(CONTEST, settings(room)) for _ in range(2)))
        landed = sum(int(number) for number in said)
        entries = commits_since(lake, room.name, 0)
        assert landed == len(entries) == len({entry.ranges for entry in entries})
        assert lake.execute("SELECT count(*) FROM lake.main.events") == [(3 * landed,)]
        state = lanes.read_lane(lake, room.name, 0)
        assert state is not None
        assert set(state.offsets.values()) == {landed}


def test_two_lanes_that_add_columns_at_once_one_stages_again(room: PipelineConfig) -> None:
    with open_lake(room.lake) as lake, Committer(room.lake) as first, Committer(room.lake) as second:
        states = [new_lane(lake, room, lane=lane, partitions=[lane]) for lane in range(2)]
        narrow = plan(lake, room)
        start = micro_batch(room, states[0], narrow, [stage(room, narrow, [DAY])])
        first.commit(start)
        ours, theirs = with_column(lake, room, start.after, "a"), with_column(lake, room, states[1], "b")
        raced: list[Point] = []

        def at(point: Point) -> None:
            if point is Point.LEDGER_WRITTEN and not raced:
                raced.append(point)
                second.commit(theirs)

        with pytest.raises(Replan):
            first.commit(ours, at=at)
        assert raced
        assert lake.execute("SELECT count(*) FROM lake.main.events") == [(2,)]


# What the engines say: `is_conflict` knows lost races by these texts


def attached(lake: LakeConfig) -> duckdb.DuckDBPyConnection:
    connection = connected((*catalog_of(lake).extensions, "ducklake"))
    connection.execute(attach(catalog_of(lake).target, {"DATA_PATH": store_of(lake).root}))
    return connection


@pytest.fixture
def two(lake: LakeConfig) -> Iterator[list[duckdb.DuckDBPyConnection]]:
    with attached(lake) as first, attached(lake) as second:
        first.execute("CREATE TABLE lake.main.a AS SELECT 1 AS x")
        first.execute("CREATE TABLE lake.main.b AS SELECT 1 AS x")
        yield [first, second]


@pytest.mark.parametrize(
    ("retries", "statements", "says"),
    [
        (10, ["UPDATE lake.main.a SET x = 2"] * 2, "Transaction conflict"),
        (10, ["ALTER TABLE lake.main.a ADD COLUMN y INTEGER"] * 2, "Transaction conflict"),
        (10, ["CREATE TABLE lake.main.c (x INTEGER)"] * 2, "Transaction conflict"),
        (10, ["CREATE SCHEMA lake.s"] * 2, "Transaction conflict"),
        (0, [f"INSERT INTO lake.main.{table} VALUES (2)" for table in "ab"], "ERROR:  duplicate key value"),
    ],
)
def test_lost_race_on_postgresql_is_a_conflict(
    two: list[duckdb.DuckDBPyConnection], retries: int, statements: list[str], says: str
) -> None:
    for connection, statement in zip(two, statements, strict=True):
        connection.execute(f"SET ducklake_max_retry_count = {retries}")
        connection.execute("BEGIN")
        connection.execute(statement)
    two[0].execute("COMMIT")
    with pytest.raises(duckdb.TransactionException, match=says) as lost:
        two[1].execute("COMMIT")
    assert is_conflict(lost.value)
