"""The demo's folder in; what an operator has beside the UI, out: a producer for the topic, SQL for the lake."""

import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa

from arrow_ingest.config import PipelineConfig
from arrow_ingest.demo.broker import PRODUCER_PROPERTIES
from arrow_ingest.lake.session import open_lake
from arrow_ingest.lake.verify import verify
from arrow_ingest.producer.arrow import ArrowProducer
from arrow_ingest_tests.ui.old_lake import pipeline_of


class Backstage:
    """Of the demo that runs in the folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config: PipelineConfig = pipeline_of(folder, _broker_of(folder))

    def send(self, *batches: pa.RecordBatch) -> None:
        """Produce them as one message each."""
        servers = {"bootstrap.servers": self.config.kafka.bootstrap_servers, **PRODUCER_PROPERTIES}
        with ArrowProducer(self.config.kafka.topic, servers) as producer:
            for batch in batches:
                producer.send(batch, partition=0)

    def query(self, text: str) -> list[tuple[Any, ...]]:
        """What SQL says of the lake now."""
        with open_lake(self.config.lake, read_only=True) as lake:
            return lake.execute(text)

    def verify(self) -> list[str]:
        """What is wrong with the lake's whole history."""
        with open_lake(self.config.lake, read_only=True) as lake:
            return [str(finding) for finding in verify(lake, self.config).findings]


def _broker_of(folder: Path) -> str:
    """The address that the demo's broker listens on, from its command line."""
    [pid] = [child["pid"] for child in json.loads((folder / "processes.json").read_text()) if child["name"] == "broker"]
    command = (Path("/proc") / str(pid) / "cmdline").read_text()
    return re.findall(r"127\.0\.0\.1:\d+", command)[0]
