"""Fixtures that more than one room's tests use: a real broker and topics on it, real catalogs."""

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from arrow_ingest.config import KafkaConfig
from arrow_ingest.demo.broker import EmbeddedBroker
from arrow_ingest.errors import MissingPart
from arrow_ingest.kafka.cluster import Cluster
from arrow_ingest.stack.kafka import KafkaCluster
from arrow_ingest.stack.postgres import PostgresServer
from arrow_ingest.stack.s3 import S3Server

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


PROGRAMS = Path(__file__).parents[1] / ".arrow_ingest" / "stack" / "programs"
"""Where `make test-stack` brings the programs that no package of the machine has."""

Server = TypeVar("Server", KafkaCluster, PostgresServer, S3Server)


def needed(start: Callable[[], Server]) -> Server:
    """A server that is not on every machine: without its program a test skips, and in CI it fails."""
    try:
        return start()
    except MissingPart as missing:
        said = f"{missing}; then: make test-stack"
        pytest.fail(said) if os.environ.get("CI") == "true" else pytest.skip(said)


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaCluster]:
    """One Apache Kafka broker for the whole test run. Tests that stop a broker start one of their own."""
    folder = tmp_path_factory.mktemp("kafka")
    with needed(lambda: KafkaCluster(folder, programs=PROGRAMS)) as running:
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


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def catalog(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty catalog: what takes it runs once per kind (`make test`, `make test-postgres`)."""
    if request.param == "sqlite":
        return f"sqlite:{tmp_path / 'lake' / 'catalog.sqlite'}"
    server: PostgresServer = request.getfixturevalue("postgres")
    return f"postgres:{server.new_database()}"
