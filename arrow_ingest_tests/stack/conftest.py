"""The place of this folder's tests: Apache Kafka, a lake of local files."""

from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from arrow_ingest.producer.events import EventGenerator
from arrow_ingest.stack.kafka import KafkaCluster
from arrow_ingest_tests.conftest import new_topic
from arrow_ingest_tests.worlds import World


@pytest.fixture
def generator() -> EventGenerator:
    return EventGenerator(seed=7, now=datetime(2026, 11, 20, 12, tzinfo=UTC), days=3)


@pytest.fixture
def world(kafka: KafkaCluster, tmp_path: Path) -> World:
    return local_world(kafka.bootstrap_servers, tmp_path)


def local_world(bootstrap_servers: str, tmp_path: Path) -> World:
    """SQLite and local files in ``tmp_path``, whatever the brokers are."""
    lake = tmp_path / "lake"
    topics = partial(new_topic, bootstrap_servers)
    return World(
        tmp_path, bootstrap_servers, topics, f"sqlite:{lake / 'catalog.sqlite'}", str(lake / "data"), lake / "data"
    )
