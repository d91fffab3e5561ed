"""A folder in, the demo's lake in it as months of a small stream leave it: a thousand small files in old days."""

import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from pydantic import ByteSize

from arrow_ingest.config import PipelineConfig
from arrow_ingest.demo.broker import PRODUCER_PROPERTIES, EmbeddedBroker
from arrow_ingest.demo.pipelines import demo_project
from arrow_ingest.kafka.cluster import Cluster
from arrow_ingest.pipeline.drain import drain
from arrow_ingest.producer.arrow import ArrowProducer
from arrow_ingest.producer.events import EventGenerator
from arrow_ingest.values import Receipt

OLD_DAYS = 12
NEWEST_OLD_DAY = 10
"""How many days ago; the demo's own days are younger."""

FILES_OF_A_DAY = 84
"""Fewer than the check small_files warns of, and a thousand in all."""

ROWS_OF_A_FILE = 10


def pipeline_of(folder: Path, bootstrap_servers: str) -> PipelineConfig:
    """The demo's pipeline over the lake in the folder."""
    environ: Mapping[str, str] = {
        "KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers,
        "ARROW_INGEST_CATALOG": f"sqlite:{folder / 'catalog.sqlite'}",
        "ARROW_INGEST_DATA_PATH": str(folder / "data"),
    }
    [config] = demo_project(folder / "old", 1).pipelines(environ)
    return config


def make_old_lake(folder: Path) -> None:
    """Fill it by messages with rows of all the old days, each of which closes its files."""
    folder.mkdir(parents=True)
    events, times = EventGenerator(seed=3, now=datetime.now(UTC), days=1), pa.array(_times(datetime.now(UTC)))
    with EmbeddedBroker() as broker:
        config = pipeline_of(folder, broker.bootstrap_servers)
        with Cluster(config.kafka) as cluster:
            cluster.create_topic(1)
        servers = {"bootstrap.servers": broker.bootstrap_servers, **PRODUCER_PROPERTIES}
        with ArrowProducer(config.kafka.topic, servers) as producer:
            for index in range(FILES_OF_A_DAY):
                batch = events.batch(index, len(times))
                at = batch.schema.get_field_index("timestamp")
                producer.send(batch.set_column(at, batch.schema.field(at), times), partition=0)
        small = {"target_file_bytes": ByteSize(1), "row_group_rows": ROWS_OF_A_FILE}
        settings = {
            "parquet": config.parquet.model_copy(update=small),
            "event_time": config.event_time.model_copy(update={"late_after_days": 10_000.0}),  # they came on their days
            "run": config.run.model_copy(update={"until": "caught_up"}),
        }
        done = list(_drained(config.model_copy(update=settings)))
    assert sum(receipt.files for receipt in done) == FILES_OF_A_DAY * OLD_DAYS


def _drained(config: PipelineConfig) -> Iterator[Receipt]:
    """What the run commits. Nothing waits for the disk, a thousand times over: months ago it was on it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield from (receipt for receipt in drain(config, run_id="months ago") if receipt is not None)


def _times(now: datetime) -> list[str]:
    """Noon of each old day in turn, for the rows of a message."""
    noon = now.replace(hour=12, minute=0, second=0, microsecond=0)
    days = [noon - timedelta(days=NEWEST_OLD_DAY + row % OLD_DAYS) for row in range(OLD_DAYS * ROWS_OF_A_FILE)]
    return [day.isoformat() for day in days]
