"""Places of this folder's tests: Apache Kafka over local files, and the embedded broker over a bucket."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from arrow_ingest.config import PipelineConfig
from arrow_ingest.demo.broker import EmbeddedBroker
from arrow_ingest.producer.events import EventGenerator
from arrow_ingest.stack.kafka import KafkaCluster
from arrow_ingest.stack.s3 import S3Server
from arrow_ingest_tests.conftest import new_topic
from arrow_ingest_tests.lake_contents import PARTITIONS
from arrow_ingest_tests.s3_proxy import S3Proxy
from arrow_ingest_tests.stack.s3_lakes import S3Place, events, s3_pipeline
from arrow_ingest_tests.worlds import World, variables_of_s3


@pytest.fixture
def generator() -> EventGenerator:
    return events()


@pytest.fixture
def world(kafka: KafkaCluster, tmp_path: Path) -> World:
    """Apache Kafka, a catalog and files in ``tmp_path``."""
    lake, servers = tmp_path / "lake", kafka.bootstrap_servers
    catalog = f"sqlite:{lake / 'catalog.sqlite'}"
    return World(tmp_path, servers, partial(new_topic, servers), catalog, str(lake / "data"), lake / "data")


@pytest.fixture
def place(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Place:
    """A bucket, which the environment's key may not delete from."""
    variables_of_s3(monkeypatch, s3.environ(s3.ingest))
    return S3Place(s3, s3.new_bucket())


@pytest.fixture
def config(tmp_path: Path, broker: EmbeddedBroker, topic: Any, place: S3Place) -> PipelineConfig:
    """A pipeline over the bucket, without messages."""
    return s3_pipeline(tmp_path, broker.bootstrap_servers, topic(partitions=PARTITIONS), place)


@pytest.fixture
def proxy(place: S3Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Proxy]:
    """What the environment takes for the server, and passes everything on."""
    with S3Proxy(place.server.endpoint) as running:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", running.endpoint)
        yield running


@pytest.fixture
def large(config: PipelineConfig) -> PipelineConfig:
    """Files of several parts, one per micro-batch."""
    flush = config.flush.model_copy(update={"max_bytes": 64 * 2**20})
    return config.model_copy(update={"flush": flush, "parquet": config.parquet.model_copy(update={"threads": 1})})
