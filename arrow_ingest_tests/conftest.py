"""Fixtures that more than one room's tests use: a real broker and topics on it, real catalogs."""

import importlib.util
import itertools
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, settings

from arrow_ingest.config import KafkaConfig
from arrow_ingest.demo.broker import EmbeddedBroker
from arrow_ingest.errors import MissingPart
from arrow_ingest.kafka.cluster import Cluster
from arrow_ingest.stack.kafka import KafkaCluster
from arrow_ingest.stack.postgres import PostgresServer
from arrow_ingest.stack.s3 import S3Server
from arrow_ingest_tests.chaos.scoreboard import Scoreboard, score
from arrow_ingest_tests.reported import Reported
from arrow_ingest_tests.worlds import (
    KAFKA,
    POSTGRES,
    S3,
    SQLITE,
    WORLDS,
    World,
    one_stack_world_for_each_parameter,
    variables_of_s3,
)

if TYPE_CHECKING:
    from dagster import DagsterInstance

__all__ = ["score"]  # a fixture of all tests

_numbers = itertools.count()


# How fast a machine makes examples or passes one is no property of the code.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


def pytest_addoption(parser: pytest.Parser) -> None:
    """What the canary searches; how much chaos there is."""
    parser.addoption("--written", type=Path, help="the --basetemp of an earlier run, to be searched for secrets")
    parser.addoption("--seeds", type=int, default=1, help="how many seeds each chaos test runs with")
    parser.addoption("--score", action="store_true", help="count faults and damage; the last line is their JSON")


def pytest_configure(config: pytest.Config) -> None:
    """Keep what tests show beside what they write, where that is kept."""
    _search_for_pandas_once()
    is_worker = hasattr(config, "workerinput")
    if config.option.basetemp and not is_worker:
        config.pluginmanager.register(Reported(Path(config.option.basetemp)))
    if config.option.score:
        config.pluginmanager.register(Scoreboard())


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A chaos test takes its ``seed`` as an argument, and runs once with each."""
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", range(metafunc.config.option.seeds))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Before `-m` chooses: the selection of worlds for parametrized tests; what may take long comes first."""
    one_stack_world_for_each_parameter(items)
    if hasattr(config, "workerinput"):  # else a worker is left alone with it at the end
        _begin_with_longest(items)


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedBroker]:
    """One embedded broker for the whole test run. Tests that stop a broker start one of their own."""
    log_file: Path = tmp_path_factory.mktemp("broker") / "broker.log"
    with EmbeddedBroker(log_file=log_file) as running:
        yield running


@pytest.fixture
def topic(broker: EmbeddedBroker) -> Callable[..., str]:
    """Makes topics: ``topic(partitions=4) -> name``. None is deleted: see `arrow_ingest.demo.broker` for why."""
    return lambda partitions=1: new_topic(broker.bootstrap_servers, partitions)


def new_topic(bootstrap_servers: str, partitions: int) -> str:
    """The name of a new topic."""
    name = f"test-{os.getpid()}-{next(_numbers)}"
    with Cluster(KafkaConfig(topic=name, bootstrap_servers=bootstrap_servers)) as cluster:
        cluster.create_topic(partitions)
    return name


PROGRAMS = Path(__file__).parents[1] / ".arrow_ingest" / "stack" / "programs"
"""Where `make test-stack` brings the programs that no package of the machine has."""

QUICK_CLEANER = {"log.cleaner.backoff.ms": "200", "log.initial.task.delay.ms": "500"}
"""A compacted topic is looked at five times a second, not every 15 s."""

Server = TypeVar("Server", KafkaCluster, PostgresServer, S3Server)


def needed(start: Callable[[], Server]) -> Server:
    """A server that is not on every machine: without its program a test skips, and in CI it fails."""
    try:
        return start()
    except MissingPart as missing:
        said = f"{missing}; then: make test-stack"
        pytest.fail(said) if os.environ.get("CI") == "true" else pytest.skip(said)


@pytest.fixture
def instance(tmp_path: Path) -> Iterator["DagsterInstance"]:
    """A Dagster instance of the test's own, with the settings that the package brings."""
    from arrow_ingest_tests.dagster_home import instance_in  # seconds, which other tests need not wait

    with instance_in(tmp_path / "dagster") as made:
        yield made


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaCluster]:
    """One Apache Kafka broker for the whole test run. Tests that stop a broker start one of their own."""
    folder = tmp_path_factory.mktemp("kafka")
    with needed(lambda: KafkaCluster(folder, settings=QUICK_CLEANER, programs=PROGRAMS)) as running:
        yield running


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """One S3 server for the whole test run; a test makes a bucket of its own."""
    folder = tmp_path_factory.mktemp("s3")
    with needed(lambda: S3Server(folder, programs=PROGRAMS)) as running:
        yield running


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One PostgreSQL for the whole test run; a test makes a database of its own."""
    with needed(PostgresServer) as running:
        yield running


@pytest.fixture(params=[SQLITE, pytest.param(POSTGRES, marks=pytest.mark.postgres)])
def catalog(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty catalog, for tests of the lake that need no broker; once per kind of catalog."""
    return new_catalog(request, request.param, tmp_path)


def new_catalog(request: pytest.FixtureRequest, kind: str, tmp_path: Path) -> str:
    """The address of an empty catalog of a kind."""
    if kind == POSTGRES:
        return f"postgres:{request.getfixturevalue('postgres').new_database()}"
    return f"sqlite:{tmp_path / 'lake' / 'catalog.sqlite'}"


@pytest.fixture(params=WORLDS)
def world(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A place for an end-to-end test: what takes it runs in every one that the make target chooses."""
    broker_kind, catalog_kind, store_kind = request.param
    servers = request.getfixturevalue("kafka" if broker_kind == KAFKA else "broker").bootstrap_servers
    catalog = new_catalog(request, catalog_kind, tmp_path)
    data_path, files_root = str(tmp_path / "lake" / "data"), tmp_path / "lake" / "data"
    if store_kind == S3:
        s3: S3Server = request.getfixturevalue("s3")
        bucket = s3.new_bucket()
        data_path, files_root = f"s3://{bucket}/some/prefix/", s3.data / bucket / "some" / "prefix"
        variables_of_s3(monkeypatch, s3.environ())
    return World(tmp_path, servers, partial(new_topic, servers), catalog, data_path, files_root)


def _begin_with_longest(items: list[pytest.Item]) -> None:
    """Sort modules by the longest time that one of their tests may take; within a module all stays as it is."""
    longest: dict[Path, float] = {}
    for item in items:
        limit = item.get_closest_marker("timeout")
        longest[item.path] = max(longest.get(item.path, 0), limit.args[0] if limit else 0)
    items.sort(key=lambda item: -longest[item.path])


def _search_for_pandas_once() -> None:
    """Let the import system remember that there is no pandas, if there is none: a sixth of the tests' CPU.

    DuckDB asks for it at every value that is bound, and a search that fails is not remembered (0.14 ms). In tests
    alone: a module that is None to Python is found by Cython, and who knows what a user's process has loaded. pyarrow,
    which is made with it, asks once; before us.
    """
    pa.scalar(0, pa.timestamp("ns")).as_py()
    if importlib.util.find_spec("pandas") is None:
        sys.modules.setdefault("pandas", None)  # type: ignore[arg-type]  # documented, typeshed has no word for it
