"""Pipelines over a bucket of their own, for the tests with a real S3 server."""

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from arrow_ingest.config import PipelineConfig
from arrow_ingest.kafka.cluster import Cluster
from arrow_ingest.lake.findings import VerifyReport
from arrow_ingest.lake.session import open_lake
from arrow_ingest.lake.verify import verify
from arrow_ingest.producer.arrow import ArrowProducer
from arrow_ingest.producer.events import EventGenerator
from arrow_ingest.stack.s3 import S3Server
from arrow_ingest_tests.lake_contents import assert_verified, pipeline, query

MESSAGES = 12
PREFIX = "some/prefix"
PART_BYTES = 10 * 2**20
"""pyarrow uploads a larger file in parts of this size."""


def events() -> EventGenerator:
    """Events of three days."""
    return EventGenerator(seed=7, now=datetime(2026, 11, 20, 12, tzinfo=UTC), days=3)


@dataclass(frozen=True, slots=True)
class S3Place:
    """A bucket, the server that has it, and the folder that the server keeps its objects in."""

    server: S3Server
    bucket: str

    @property
    def data_path(self) -> str:
        return f"s3://{self.bucket}/{PREFIX}/"

    @property
    def folder(self) -> Path:
        return self.server.data / self.bucket

    def objects(self) -> list[Path]:
        """The objects that are whole, by name."""
        return sorted(path for path in self.folder.rglob("*") if path.is_file() and ".sgwtmp" not in path.parts)

    def lake(self, folder: Path, catalog: str | None = None, **s3: str) -> dict[str, Any]:
        """The YAML's `lake`."""
        return {
            "catalog": catalog or f"sqlite:{folder / 'lake' / 'catalog.sqlite'}",
            "data_path": self.data_path,
            "s3": s3,
            "table": "events",
        }


def s3_pipeline(
    folder: Path, bootstrap_servers: str, topic: str, place: S3Place, *, catalog: str | None = None, **settings: Any
) -> PipelineConfig:
    """The default pipeline's shape over a lake with its files in ``place``."""
    return pipeline(folder, bootstrap_servers, topic, **({"lake": place.lake(folder, catalog)} | settings))


def verified(config: PipelineConfig) -> VerifyReport:
    """What `verify` finds, footers only."""
    with Cluster(config.kafka) as cluster, open_lake(config.lake, read_only=True) as lake:
        return verify(lake, config, topic=cluster.topic_state)


def produce_large(config: PipelineConfig, messages: int) -> None:
    """Send messages of 2 MiB that no codec makes smaller, all of one day."""
    time = pa.array([datetime(2026, 11, 4, 12, tzinfo=UTC)], pa.timestamp("us", "UTC"))
    with ArrowProducer(config.kafka.topic, {"bootstrap.servers": config.kafka.bootstrap_servers}) as producer:
        for _ in range(messages):
            noise = pa.array([os.urandom(2**21)], pa.binary())
            producer.send(pa.record_batch({"timestamp": time, "noise": noise}), partition=0)


def assert_holds_large(config: PipelineConfig, messages: int) -> None:
    rows = "count(*) AS n, count(DISTINCT _kafka_offset) AS messages, sum(octet_length(noise)) AS bytes"
    found = query(config, f"SELECT {rows} FROM lake.main.events").to_pylist()
    assert found == [{"n": messages, "messages": messages, "bytes": messages * 2**21}]
    assert_verified(config)
