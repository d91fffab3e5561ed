"""Fixtures of experiments in which one lane is drained in this process."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from arrow_ingest.config import PipelineConfig
from arrow_ingest.demo.broker import EmbeddedBroker
from arrow_ingest.producer.events import EventGenerator
from arrow_ingest_tests.lake_contents import PARTITIONS, pipeline


@pytest.fixture
def generator() -> EventGenerator:
    return EventGenerator(seed=7, now=datetime(2026, 11, 20, 12, tzinfo=UTC), days=3)


@pytest.fixture
def config(tmp_path: Path, broker: EmbeddedBroker, topic: Callable[..., str]) -> PipelineConfig:
    return pipeline(tmp_path, broker.bootstrap_servers, topic(PARTITIONS), maintenance={"lock_wait_seconds": 0})
