"""A folder in, the demo's lake in it as months of a small stream leave it: a thousand small files in old days."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
from pydantic import ByteSize

from arrow_ingest.config import PipelineConfig
from arrow_ingest.demo.broker import PRODUCER_PROPERTIES, EmbeddedBroker
from arrow_ingest.demo.pipelines import demo_project
from arrow_ingest.kafka.cluster import Cluster
from arrow_ingest.pipeline.drain import drain
from arrow_ingest.producer.arrow import ArrowProducer
from arrow_ingest.producer.events import EventGenerator

OLD_DAYS = 20
NEWEST_OLD_DAY = 10
"""How many days ago; the demo's own days are younger."""

COMMITS, ROWS = 50, 100


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
    """Fill it by commits of one message each, every one with rows of all the old days."""
    folder.mkdir(parents=True)
    events, times = EventGenerator(seed=3, now=datetime.now(UTC), days=1), pa.array(_times(datetime.now(UTC)))
    with EmbeddedBroker() as broker:
        config = pipeline_of(folder, broker.bootstrap_servers)
        with Cluster(config.kafka) as cluster:
            cluster.create_topic(1)
        servers = {"bootstrap.servers": broker.bootstrap_servers, **PRODUCER_PROPERTIES}
        eager = {
            "flush": config.flush.model_copy(update={"max_bytes": ByteSize(1)}),
            "run": config.run.model_copy(update={"linger_seconds": 60.0}),
        }
        running = drain(config.model_copy(update=eager), run_id="months ago")
        files = 0
        with ArrowProducer(config.kafka.topic, servers) as producer:
            for index in range(COMMITS):
                batch = events.batch(index, ROWS)
                at = batch.schema.get_field_index("timestamp")
                producer.send(batch.set_column(at, batch.schema.field(at), times), partition=0)
                producer.flush()
                files += next(receipt.files for receipt in running if receipt is not None)
        running.close()
    assert files == COMMITS * OLD_DAYS


def _times(now: datetime) -> list[str]:
    """Noon of each old day in turn, for the rows of a message."""
    noon = now.replace(hour=12, minute=0, second=0, microsecond=0)
    days = [noon - timedelta(days=NEWEST_OLD_DAY + row % OLD_DAYS) for row in range(ROWS)]
    return [day.isoformat() for day in days]
