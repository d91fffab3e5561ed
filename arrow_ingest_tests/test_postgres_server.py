"""PostgreSQL as an operator meets it: restarted amid a commit, out of connections, its password in a file only."""

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from arrow_ingest.config import PipelineConfig
from arrow_ingest.errors import ArrowIngestError, CatalogUnavailable, StackFailed, TransientError
from arrow_ingest.producer.events import EventGenerator
from arrow_ingest.stack.postgres import PostgresServer
from arrow_ingest.values import Point
from arrow_ingest_tests.conftest import needed
from arrow_ingest_tests.lake_contents import (
    PARTITIONS,
    assert_holds_exactly,
    assert_verified,
    crash_drain_command,
    drain_in_a_process,
    drained,
    pipeline,
    produce,
)
from arrow_ingest_tests.postgres_proxy import Fault, PostgresProxy

pytestmark = pytest.mark.postgres

MESSAGES = 24
CONNECTIONS = 20
PASSWORD = "hidden-word"  # noqa: S105 - of a server that lives as long as the test


@pytest.fixture
def generator() -> EventGenerator:
    return EventGenerator(seed=7, now=datetime(2026, 11, 20, 12, tzinfo=UTC), days=3)


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """A server of the test's own, which it may end."""
    with needed(lambda: PostgresServer(settings={"max_connections": str(CONNECTIONS)})) as running:
        yield running


@pytest.fixture
def config(server: PostgresServer, broker: Any, topic: Any, tmp_path: Path) -> PipelineConfig:
    catalog = f"postgres:{server.new_database()}"
    return pipeline(tmp_path, broker.bootstrap_servers, topic(partitions=PARTITIONS), catalog=catalog)


@pytest.fixture
def anns(
    server: PostgresServer, config: PipelineConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> PipelineConfig:
    """The same pipeline for a role that owns its database, is no superuser and has its password in a file."""
    server.new_role("ann", PASSWORD)
    dsn = config.lake.catalog.removeprefix("postgres:")
    name = psycopg.conninfo.conninfo_to_dict(dsn)["dbname"]
    server.execute(f"ALTER DATABASE {name} OWNER TO ann")
    passwords = tmp_path / "passwords"
    passwords.write_text(f"127.0.0.1:{server.port}:*:ann:{PASSWORD}\n")
    passwords.chmod(0o600)
    monkeypatch.delenv("PGPASSWORD", raising=False)
    monkeypatch.setenv("PGPASSFILE", str(passwords))
    return catalog_at(config, psycopg.conninfo.make_conninfo(dsn, user="ann"))


def catalog_at(config: PipelineConfig, dsn: str) -> PipelineConfig:
    return config.model_copy(update={"lake": config.lake.model_copy(update={"catalog": f"postgres:{dsn}"})})


@contextmanager
def all_connections_taken(config: PipelineConfig) -> Iterator[None]:
    """Every session that the server has left for ordinary roles, held by others."""
    dsn = config.lake.catalog.removeprefix("postgres:")
    with ExitStack() as others:
        with suppress(psycopg.OperationalError):
            for _ in range(CONNECTIONS + 1):
                others.enter_context(psycopg.connect(dsn))
            pytest.fail("the server has no limit")
        yield


def start_again(server: PostgresServer) -> None:
    """Start it, once processes of an earlier one that was killed have let go of its memory."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return server.start()
        except StackFailed:
            assert time.monotonic() < deadline
            time.sleep(0.1)


@pytest.mark.chaos(faults=1)
@pytest.mark.parametrize(
    ("point", "end"),
    [
        (Point.STAGED, "stop"),
        (Point.FENCED, "kill"),
        (Point.FENCED, "kill_parent"),
        (Point.LEDGER_WRITTEN, "stop"),
        (Point.LEDGER_WRITTEN, "kill_parent"),
    ],
)
def test_server_restarted_amid_a_commit_leaves_each_row_once(
    server: PostgresServer, config: PipelineConfig, generator: EventGenerator, point: Point, end: str
) -> None:
    produce(config, generator, range(MESSAGES))
    command = crash_drain_command(config, point.value, "wait")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "waiting\n"
        getattr(server, end)()
        start_again(server)
        said, _ = run.communicate("go on\n", timeout=120)
    # DuckDB may abort when its server vanishes amid a transaction (FACTS); otherwise the run says what it met.
    assert run.returncode == -signal.SIGABRT or (run.returncode == 1 and "LaneLockLost" in said), (run.returncode, said)
    drained(config)
    assert_holds_exactly(config, generator, MESSAGES)
    assert_verified(config)


@pytest.mark.chaos(faults=1)
@pytest.mark.parametrize("fault", [Fault.COMMIT_LOST, Fault.ANSWER_LOST])
def test_server_that_crashes_as_commit_arrives_leaves_each_row_once(
    server: PostgresServer, config: PipelineConfig, generator: EventGenerator, fault: Fault
) -> None:
    produce(config, generator, range(MESSAGES))
    dsn = config.lake.catalog.removeprefix("postgres:")
    with PostgresProxy(server.port, fault) as proxy:
        proxied = catalog_at(config, psycopg.conninfo.make_conninfo(dsn, port=proxy.port))
        with subprocess.Popen(crash_drain_command(proxied), stdout=subprocess.PIPE, text=True) as run:
            assert proxy.happened.wait(60)
            server.kill()
            server.start()
            run.communicate(timeout=120)
    drained(config)
    assert_holds_exactly(config, generator, MESSAGES)
    assert_verified(config)


@pytest.mark.chaos(faults=1)
def test_connection_limit_reached_is_said_and_nothing_is_lost(anns: PipelineConfig, generator: EventGenerator) -> None:
    produce(anns, generator, range(MESSAGES))
    with all_connections_taken(anns), pytest.raises(CatalogUnavailable, match=r"connection slots|too many"):
        drained(anns)
    drained(anns)
    assert_holds_exactly(anns, generator, MESSAGES)
    assert_verified(anns)


@pytest.mark.chaos(faults=1)
@pytest.mark.parametrize("point", [Point.FETCHED, Point.STAGED, Point.FENCED, Point.COMMITTED])
def test_connection_limit_reached_under_a_run_loses_and_repeats_nothing(
    anns: PipelineConfig, generator: EventGenerator, point: Point
) -> None:
    produce(anns, generator, range(MESSAGES))
    with ExitStack() as others:
        taken: list[Point] = []

        def at(reached: Point) -> None:
            if reached is point and not taken:
                taken.append(reached)
                others.enter_context(all_connections_taken(anns))

        try:
            drained(anns, at=at)
        except TransientError as error:
            assert "connection" in str(error)  # noqa: PT017 - it may also get by with what it has
        assert taken
    drained(anns)
    assert_holds_exactly(anns, generator, MESSAGES)
    assert_verified(anns)


def test_a_reader_needs_no_more_than_select_and_writes_nothing(
    anns: PipelineConfig, config: PipelineConfig, server: PostgresServer, generator: EventGenerator, tmp_path: Path
) -> None:
    produce(anns, generator, range(MESSAGES))
    drained(anns)
    dsn = config.lake.catalog.removeprefix("postgres:")
    server.new_role("reader", PASSWORD)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
        connection.execute("ALTER DEFAULT PRIVILEGES FOR ROLE ann GRANT SELECT ON TABLES TO reader")
    with (tmp_path / "passwords").open("a") as passwords:
        passwords.write(f"127.0.0.1:{server.port}:*:reader:{PASSWORD}\n")
    reader = catalog_at(config, psycopg.conninfo.make_conninfo(dsn, user="reader"))
    assert_holds_exactly(reader, generator, MESSAGES)
    assert_verified(reader)
    produce(anns, generator, range(MESSAGES, MESSAGES + 4))
    with pytest.raises(ArrowIngestError, match="permission denied"):
        drained(reader)
    drained(anns)
    assert_holds_exactly(reader, generator, MESSAGES + 4)


def test_password_in_pgpassfile_is_enough_and_shown_nowhere(
    anns: PipelineConfig, generator: EventGenerator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    produce(anns, generator, range(MESSAGES))
    run = drain_in_a_process(anns)
    assert run.returncode == 0, (run.stdout, run.stderr)
    assert_holds_exactly(anns, generator, MESSAGES)
    assert_verified(anns)
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "absent"))
    refused = drain_in_a_process(anns)
    assert refused.returncode == 1
    assert "PGPASSFILE" in refused.stdout
    assert PASSWORD not in run.stdout + run.stderr + refused.stdout + refused.stderr
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "passwords"))
    with psycopg.connect(anns.lake.catalog.removeprefix("postgres:")) as connection:
        tables = connection.execute(
            "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        ).fetchall()
        assert tables
        for (table,) in tables:
            assert PASSWORD not in str(connection.execute(f"TABLE {table}".encode()).fetchall())
