"""Fixtures that more than one room's tests use: a real broker and topics on it, real catalogs."""

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from arrow_ingest.config import KafkaConfig
from arrow_ingest.demo.broker import EmbeddedBroker
from arrow_ingest.kafka.cluster import Cluster
from arrow_ingest_tests.postgres import PostgresServer, programs

_numbers = itertools.count()


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedBroker]:
    """One embedded broker for the whole test run. Tests that stop a broker start one of their own."""
    log_file: Path = tmp_path_factory.mktemp("broker") / "broker.log"
    with EmbeddedBroker(log_file=log_file) as running:
        yield running


@pytest.fixture
def topic(broker: EmbeddedBroker) -> Callable[..., str]:
    """Makes topics: ``topic(partitions=4) -> name``. None is deleted: see `arrow_ingest.demo.broker` for why."""

    def make(partitions: int = 1) -> str:
        name = f"test-{os.getpid()}-{next(_numbers)}"
        with Cluster(KafkaConfig(topic=name, bootstrap_servers=broker.bootstrap_servers)) as cluster:
            cluster.create_topic(partitions)
        return name

    return make


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One PostgreSQL for the whole test run; a test makes a database of its own."""
    folder = programs()
    if folder is None:
        missing = "there is no PostgreSQL server on this machine: apt install postgresql (or put its initdb on PATH)"
        pytest.fail(missing) if os.environ.get("CI") == "true" else pytest.skip(missing)
    with PostgresServer(folder) as running:
        yield running


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def catalog(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty catalog: what takes it runs once per kind (`make test`, `make test-postgres`)."""
    if request.param == "sqlite":
        return f"sqlite:{tmp_path / 'lake' / 'catalog.sqlite'}"
    server: PostgresServer = request.getfixturevalue("postgres")
    return f"postgres:{server.new_database()}"
