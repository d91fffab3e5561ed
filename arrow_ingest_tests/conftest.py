"""Fixtures that more than one room's tests use: a real broker and topics on it."""

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from arrow_ingest.config import KafkaConfig
from arrow_ingest.demo.broker import EmbeddedBroker
from arrow_ingest.kafka.cluster import Cluster

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
