"""Sessions, their errors and locks, and the facts about DuckDB that they rest on."""

import os
import signal
import sqlite3
from pathlib import Path

import duckdb
import pydantic
import pytest
from psycopg.conninfo import conninfo_to_dict

from arrow_ingest.config import LakeConfig, PipelineConfig
from arrow_ingest.errors import (
    CatalogUnavailable,
    CommitConflict,
    ConfigError,
    LakeMismatch,
    LaneBusy,
    StatementRefused,
)
from arrow_ingest.lake.catalog import catalog_of
from arrow_ingest.lake.engine_errors import is_conflict
from arrow_ingest.lake.locks import wait_lock
from arrow_ingest.lake.session import open_lake
from arrow_ingest.lake.tables import ensure
from arrow_ingest_tests.lake_writers import finished, hold_write_lock, let_go, pipeline, start_python

HOLD_LANE = """
import sys
from arrow_ingest.config import LakeConfig
from arrow_ingest.lake.catalog import catalog_of
lake = LakeConfig(catalog=sys.argv[1], data_path="unused", table="events")
with catalog_of(lake).lane_lock("events", 0, holder="child-run"):
    print("held", flush=True)
    sys.stdin.read()
"""

OPEN = """
import sys
from arrow_ingest.config import LakeConfig
from arrow_ingest.lake.session import open_lake
sys.stdin.readline()
with open_lake(LakeConfig(catalog=sys.argv[1], data_path=sys.argv[2], table="events")) as lake:
    print(lake.execute("SELECT current_setting('TimeZone')")[0][0])
"""


def make_lake(config: PipelineConfig) -> None:
    with open_lake(config.lake) as lake:
        ensure(lake, config)


@pytest.fixture
def config(tmp_path: Path) -> PipelineConfig:
    return pipeline(tmp_path)


def test_two_processes_make_one_lake_at_once(config: PipelineConfig) -> None:
    children = [start_python(OPEN, config.lake.catalog, config.lake.data_path) for _ in range(3)]
    assert let_go(*children) == ["UTC\n"] * 3


def test_session_is_in_utc_whatever_the_machines_zone(config: PipelineConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/Los_Angeles")
    child = start_python(OPEN, config.lake.catalog, config.lake.data_path)
    assert let_go(child) == ["UTC\n"]


def test_session_needs_no_home(config: PipelineConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/nonexistent")
    child = start_python(OPEN, config.lake.catalog, config.lake.data_path)
    assert let_go(child) == ["UTC\n"]


def test_catalog_is_in_wal_mode_without_a_second_sqlite_in_the_process(config: PipelineConfig, tmp_path: Path) -> None:
    open_lake(config.lake).close()
    # Byte 18 of a SQLite file is its write version: 2 is WAL.
    assert (tmp_path / "catalog.sqlite").read_bytes()[18] == 2


def test_reader_is_not_held_up_by_an_open_transaction(config: PipelineConfig) -> None:
    make_lake(config)
    with open_lake(config.lake) as writer, open_lake(config.lake, read_only=True) as reader:
        writer.execute("CREATE TABLE lake.main.t (a INTEGER)")
        with writer.transaction():
            writer.execute("DROP TABLE lake.main.t")
            assert reader.execute("SELECT count(*) FROM lake.main.t") == [(0,)]


def test_read_only_session_cannot_write(config: PipelineConfig) -> None:
    make_lake(config)
    with open_lake(config.lake, read_only=True) as lake, pytest.raises(StatementRefused, match="read-only"):
        lake.execute("CREATE TABLE lake.main.t (a INTEGER)")


def test_reader_that_comes_before_the_first_attach_has_ended_is_told_to_come_again(
    config: PipelineConfig, tmp_path: Path
) -> None:
    (tmp_path / "catalog.sqlite").touch()
    with pytest.raises(CatalogUnavailable, match="no lake"):
        open_lake(config.lake, read_only=True)


def test_read_only_session_makes_no_lake(config: PipelineConfig, tmp_path: Path) -> None:
    with pytest.raises(CatalogUnavailable, match="no lake"):
        open_lake(config.lake, read_only=True)
    assert list(tmp_path.iterdir()) == []


def test_reader_of_a_lake_that_is_being_made_is_told_to_come_again(config: PipelineConfig) -> None:
    open_lake(config.lake).close()
    with pytest.raises(CatalogUnavailable, match="no lake"):
        open_lake(config.lake, read_only=True)


def test_statements_reach_no_file_outside_the_data_path(config: PipelineConfig) -> None:
    with open_lake(config.lake) as lake:
        with pytest.raises(StatementRefused, match="disabled by configuration"):
            lake.execute("SELECT * FROM read_text('/etc/hostname')")
        with pytest.raises(StatementRefused, match="locked"):
            lake.execute("SET enable_external_access = true")


def test_queries_are_bounded_and_bring_no_extension(config: PipelineConfig) -> None:
    names = ("memory_limit", "max_temp_directory_size", "autoinstall_known_extensions", "autoload_known_extensions")
    with open_lake(config.lake) as lake:
        settings = [lake.execute("SELECT current_setting(?)", [name])[0][0] for name in names]
        assert settings == ["1.0 GiB", "16.0 GiB", False, False]
        with pytest.raises(StatementRefused):
            lake.execute("INSTALL spatial")
        with pytest.raises(StatementRefused):
            lake.execute("ATTACH 'dbname=other' AS other (TYPE postgres)")


def test_no_session_loads_a_binary_that_was_not_signed(config: PipelineConfig, tmp_path: Path) -> None:
    binary = tmp_path / "data" / "evil.duckdb_extension"
    for _ in range(2):  # the second session trusts what the first one has checked, and nothing else
        with open_lake(config.lake) as lake:
            binary.write_bytes(b"evil")
            with pytest.raises(StatementRefused, match="disabled through configuration"):
                lake.execute(f"LOAD '{binary}'")


def test_extension_that_cannot_be_had_names_the_wheel_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    child = start_python("from arrow_ingest.lake.engine import connected; connected(('no_such_thing',))")
    _, err = child.communicate(timeout=60)
    assert "MissingPart" in err
    assert "pip install duckdb-extension-no-such-thing==" in err


def test_lake_of_another_data_path_is_refused(config: PipelineConfig, tmp_path: Path) -> None:
    open_lake(config.lake).close()
    moved = config.lake.model_copy(update={"data_path": str(tmp_path / "elsewhere")})
    with pytest.raises(LakeMismatch, match=f"{config.lake.data_path}.*elsewhere"):
        open_lake(moved, read_only=True)


@pytest.mark.parametrize("obstacle", ["file in the way of the folder", "not a database"])
def test_catalog_that_cannot_be_opened_is_unavailable(tmp_path: Path, obstacle: str) -> None:
    (tmp_path / "obstacle").write_bytes(b"hello" * 1000)
    path = tmp_path / "obstacle" / "catalog.sqlite" if "folder" in obstacle else tmp_path / "obstacle"
    lake = LakeConfig(catalog=str(path), data_path=str(tmp_path / "data"), table="events")
    with pytest.raises(CatalogUnavailable):
        open_lake(lake)


@pytest.mark.parametrize("catalog", ["mysql:host=db", "duckdb:lake.db", "sqlite:", "postgres:", "postgres:hots=db"])
def test_unknown_kind_of_catalog_is_a_setting_to_correct_and_no_secret_is_shown(catalog: str) -> None:
    with pytest.raises(ConfigError, match=r"lake\.catalog") as refused:
        catalog_of(LakeConfig(catalog=catalog, data_path="data", table="events"))
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "dsn",
    [
        "host=db dbname=lake password=hidden-word",
        "host=db password = 'hidden-word'",
        "host=db sslpassword=hidden-word",
        "//ann:hidden-word@db/lake",
        "postgresql://ann:hidden-word@db:5432/lake",
        "//db/lake?password=hidden-word",
        "//db/lake?p%61ssword=hidden-word",
    ],
)
def test_password_in_a_dsn_is_refused_and_shown_nowhere(dsn: str) -> None:
    with pytest.raises(pydantic.ValidationError, match="PGPASSFILE") as refused:
        LakeConfig(catalog=f"postgres:{dsn}", data_path="data", table="events")
    assert "hidden-word" not in f"{refused.value} {refused.value!r}"


@pytest.mark.parametrize(
    "catalog",
    [
        "postgres:host=db dbname=lake user=ann sslmode=verify-full",
        "postgres://ann@db/lake?sslmode=verify-full",
        "postgresql://ann@db/lake?sslmode=verify-full",
        "postgres:postgresql://ann@db/lake?sslmode=verify-full",
    ],
)
def test_both_forms_of_a_dsn_name_the_same_catalog(catalog: str) -> None:
    found = catalog_of(LakeConfig(catalog=catalog, data_path="data", table="events"))
    told = conninfo_to_dict(found.target.removeprefix("ducklake:postgres:"))
    expected = {"host": "db", "dbname": "lake", "user": "ann", "sslmode": "verify-full"}
    assert {key: told.get(key) for key in expected} == expected


@pytest.mark.parametrize("catalog", ["relative/c.sqlite", "sqlite:relative/c.sqlite"])
def test_relative_catalog_is_found_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, catalog: str
) -> None:
    monkeypatch.chdir(tmp_path)
    found = catalog_of(LakeConfig(catalog=catalog, data_path="data", table="events"))
    assert found.target == f"ducklake:sqlite:{tmp_path}/relative/c.sqlite"


def test_lost_race_on_sqlite_says_database_is_locked(config: PipelineConfig, tmp_path: Path) -> None:
    with open_lake(config.lake) as lake:
        holder = hold_write_lock(tmp_path / "catalog.sqlite")
        with pytest.raises(CommitConflict, match="database is locked"):
            lake.execute("CREATE TABLE lake.main.t (a INTEGER)")
        finished(holder)
        lake.execute("CREATE TABLE lake.main.t (a INTEGER)")


def test_lost_race_inside_duckdb_is_a_conflict() -> None:
    with duckdb.connect() as first, first.cursor() as second:
        first.execute("CREATE TABLE t AS SELECT 1 AS a")
        first.execute("BEGIN; UPDATE t SET a = 2")
        second.execute("BEGIN")
        with pytest.raises(duckdb.TransactionException) as lost:
            second.execute("UPDATE t SET a = 3")
    assert is_conflict(lost.value)


def test_closed_session_is_unavailable_not_refused(config: PipelineConfig) -> None:
    lake = open_lake(config.lake)
    lake.close()
    with pytest.raises(CatalogUnavailable):
        lake.execute("SELECT 1")


def test_failing_block_rolls_back_and_the_session_goes_on(config: PipelineConfig) -> None:
    with open_lake(config.lake) as lake:
        with pytest.raises(StatementRefused), lake.transaction():  # noqa: PT012  the block is what is tested
            lake.execute("CREATE TABLE lake.main.t (a INTEGER)")
            lake.execute("SELECT no_such_column")
        with lake.transaction():
            lake.execute("CREATE TABLE lake.main.t (a INTEGER)")


def test_lane_is_busy_while_another_process_holds_it_and_says_who(config: PipelineConfig) -> None:
    catalog = catalog_of(config.lake)
    child = start_python(HOLD_LANE, config.lake.catalog)
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    with pytest.raises(LaneBusy, match=f"pid {child.pid}, run child-run"), catalog.lane_lock("events", 0, holder="us"):
        pass
    with catalog.lane_lock("events", 1, holder="us"), catalog.lane_lock("other", 0, holder="us"):
        pass
    finished(child)


def test_kill_releases_the_lane(config: PipelineConfig) -> None:
    child = start_python(HOLD_LANE, config.lake.catalog)
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    os.kill(child.pid, signal.SIGKILL)
    child.communicate(timeout=60)
    with catalog_of(config.lake).lane_lock("events", 0, holder="next"):
        pass


def test_second_publisher_is_told_to_skip(config: PipelineConfig) -> None:
    catalog = catalog_of(config.lake)
    with catalog.publisher_lock("events") as first, catalog.publisher_lock("events") as second:
        assert (first, second) == (True, False)
    with catalog.publisher_lock("events") as third:
        assert third


def test_waiter_gives_up_and_names_the_holder(tmp_path: Path) -> None:
    path = tmp_path / "locks" / "one.lock"
    with (
        wait_lock(path, "maintenance", 1.0),
        pytest.raises(CatalogUnavailable, match=f"pid {os.getpid()}, maintenance"),
        wait_lock(path, "a transaction", 0.05),
    ):
        pass


def test_two_copies_of_sqlite_in_one_process_do_not_exclude_each_other(config: PipelineConfig, tmp_path: Path) -> None:
    """Why the catalog's journal mode is not set by Python's sqlite3: POSIX locks belong to the process."""
    with open_lake(config.lake) as lake:
        other = sqlite3.connect(tmp_path / "catalog.sqlite", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        lake.execute("CREATE TABLE lake.main.t (a INTEGER)")
        other.close()
