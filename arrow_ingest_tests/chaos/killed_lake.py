"""A lake whose runs are killed one after the other, and what holds of it after each."""

from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from arrow_ingest.config import PipelineConfig
from arrow_ingest.kafka.cluster import Cluster
from arrow_ingest.lake.ledger import commits_since
from arrow_ingest.lake.session import Lake, open_lake
from arrow_ingest.lake.verify import verify
from arrow_ingest.producer.events import EventGenerator
from arrow_ingest_tests.conftest import new_topic
from arrow_ingest_tests.lake_contents import PARTITIONS, expected_rows, pipeline, produce, rows_in

MESSAGES = 5
"""Sent before each run; with a flush after each message a run makes two commits or more."""

ROWS = 10


def killed_pipeline(folder: Path, bootstrap_servers: str, catalog: str) -> PipelineConfig:
    """A pipeline that flushes after each message, over a topic of its own."""
    return pipeline(
        folder,
        bootstrap_servers,
        new_topic(bootstrap_servers, PARTITIONS),
        catalog=catalog,
        flush={"max_bytes": 1, "max_age_seconds": 5},
    )


def three_days(seed: int) -> EventGenerator:
    """Events of three days."""
    return EventGenerator(seed=seed, now=datetime(2026, 11, 20, 12, tzinfo=UTC), days=3)


@dataclass
class KilledLake:
    """Its pipeline, and what was sent.

    Args:
        opened: gets the cluster and the session by which it is looked at.
        acknowledged: snapshots of which a run has said that they are committed.
    """

    config: PipelineConfig
    generator: EventGenerator
    opened: ExitStack
    sent: int = 0
    acknowledged: set[int] = field(default_factory=set)

    def send(self) -> None:
        """A few messages, for the next run."""
        produce(self.config, self.generator, range(self.sent, self.sent + MESSAGES), rows=ROWS)
        self.sent += MESSAGES

    @cached_property
    def cluster(self) -> Cluster:
        """The broker, as it is asked after each end."""
        return self.opened.enter_context(Cluster(self.config.kafka))

    @cached_property
    def lake(self) -> Lake:
        """A session that only reads, which sees what there is after each end; the first run has made the lake."""
        return self.opened.enter_context(open_lake(self.config.lake, read_only=True))

    def check(self) -> None:
        """What holds after each end, before anything repairs anything: the invariants of `verify`, and receipts."""
        report = verify(self.lake, self.config, topic=self.cluster.topic_state, full=True)
        assert report.ok, report.findings
        landed = {entry.snapshot_id for entry in commits_since(self.lake, self.config.name, 0)}
        assert self.acknowledged <= landed
        strangers = [file for file in Path(self.config.lake.data_path).rglob("*.*") if not _is_ours(file)]
        assert not strangers

    def damage(self) -> dict[str, int]:
        """Rows that are missing and rows that should not be there, by place and value."""
        found, expected = Counter(rows_in(self.lake)), Counter(expected_rows(self.generator, self.sent, rows=ROWS))
        return {"lost": (expected - found).total(), "duplicated": (found - expected).total()}


def _is_ours(file: Path) -> bool:
    """Whether a file has a name that orphan removal knows a lane by."""
    return file.name.startswith("lane-0-") and file.suffix == ".parquet"
