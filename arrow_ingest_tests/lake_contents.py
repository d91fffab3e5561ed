"""What a lake holds and what it should hold, row by row, for the end-to-end tests."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa

from arrow_ingest.config import PipelineConfig
from arrow_ingest.kafka.cluster import Cluster
from arrow_ingest.lake.session import open_lake
from arrow_ingest.lake.verify import verify
from arrow_ingest.pipeline.drain import drain
from arrow_ingest.producer.arrow import ArrowProducer
from arrow_ingest.producer.events import EventGenerator
from arrow_ingest.values import Receipt
from arrow_ingest_tests.kafka_records import wait_for

PARTITIONS = 4
ROWS = 50
EVENT_COLUMNS = "uuid, event, distinct_id, team_id, project_id, properties, elements_chain"
IDENTITY = "_kafka_generation, _kafka_partition, _kafka_offset, _kafka_row"


def pipeline(
    tmp_path: Path,
    bootstrap_servers: str,
    topic: str,
    *,
    catalog: str | None = None,
    data_path: str | None = None,
    **settings: Any,
) -> PipelineConfig:
    """The default pipeline's shape over a lake in ``tmp_path``; ``settings`` replace top-level keys.

    Args:
        catalog: its address; None: a SQLite file in ``tmp_path``.
        data_path: likewise; None: a folder in ``tmp_path``.
    """
    attributes: dict[str, Any] = {
        "name": "events",
        "kafka": {"topic": topic, "bootstrap_servers": bootstrap_servers},
        "lake": {
            "catalog": catalog or f"sqlite:{tmp_path / 'lake' / 'catalog.sqlite'}",
            "data_path": data_path or str(tmp_path / "lake" / "data"),
            "table": "events",
        },
        "columns": {"timestamp": "timestamptz"},
        "partition_by": {"column": "timestamp", "unit": "day", "start": "2026-01-01"},
        "flush": {"max_bytes": "300KiB", "max_age_seconds": 5},
        "run": {"until": "caught_up"},
    }
    return PipelineConfig.model_validate(attributes | settings)


def produce(
    config: PipelineConfig, generator: EventGenerator, indices: range, *, partitions: int = PARTITIONS, rows: int = ROWS
) -> None:
    """Send one message per index, round robin over the partitions, so that index ↔ (partition, offset) is known."""
    with ArrowProducer(config.kafka.topic, {"bootstrap.servers": config.kafka.bootstrap_servers}) as producer:
        for index in indices:
            producer.send(generator.batch(index, rows), partition=index % partitions)


def make_topic_again(config: PipelineConfig) -> None:
    """Delete the topic and make it anew. No consumer of it may live: librdkafka 2.16 would crash.

    Waits until every partition is empty: Apache Kafka tells of the new topic a moment before it lets go of the old
    one's logs, and what is produced in between is acknowledged and deleted with them.
    """
    with Cluster(config.kafka) as cluster:
        cluster.delete_topic()
        cluster.create_topic(PARTITIONS)
        wait_for(lambda: not any(cluster.topic_state().high.values()), 60)


def query(config: PipelineConfig, sql: str) -> pa.Table:
    """Rows of a query over the lake attached as ``lake``, by a session of its own."""
    with open_lake(config.lake, read_only=True) as lake:
        return lake.arrow(sql)


def expected_rows(
    generator: EventGenerator, count: int, *, partitions: int = PARTITIONS, rows: int = ROWS
) -> list[tuple[Any, ...]]:
    """Each row of messages ``0 … count - 1``: its place in the log, then its own values; ascending by place."""
    expected: list[tuple[Any, ...]] = []
    for index in range(count):
        batch = generator.batch(index, rows).select([name.strip() for name in EVENT_COLUMNS.split(",")])
        columns = [column.to_pylist() for column in batch.columns]
        place = (0, index % partitions, index // partitions)
        expected.extend((*place, row, *values) for row, values in enumerate(zip(*columns, strict=True)))
    return sorted(expected, key=lambda row: row[:4])


def found_rows(config: PipelineConfig) -> list[tuple[Any, ...]]:
    """The same of the rows that the table holds."""
    found = query(config, f"SELECT {IDENTITY}, {EVENT_COLUMNS} FROM lake.main.events ORDER BY ALL")
    return list(zip(*(column.to_pylist() for column in found.columns), strict=True))


def assert_holds_exactly(
    config: PipelineConfig, generator: EventGenerator, count: int, *, partitions: int = PARTITIONS, rows: int = ROWS
) -> None:
    """The table holds each row of messages ``0 … count - 1`` once, at its own place in the log, with its own bytes."""
    found, expected = found_rows(config), expected_rows(generator, count, partitions=partitions, rows=rows)
    assert len(found) == len(expected)
    assert found == expected


def drained(config: PipelineConfig, **arguments: Any) -> list[Receipt]:
    """The receipts of one drain of lane 0."""
    return [receipt for receipt in drain(config, run_id="test", **arguments) if receipt is not None]


def assert_verified(config: PipelineConfig) -> None:
    """`verify` finds nothing over the whole history."""
    with Cluster(config.kafka) as cluster, open_lake(config.lake, read_only=True) as lake:
        report = verify(lake, config, topic=cluster.topic_state, full=True)
    assert report.ok, report.findings


def crash_drain_command(config: PipelineConfig, *arguments: str) -> list[str]:
    """What starts `crash_drain` over a pipeline."""
    return _command("crash_drain", config, *arguments)


def drain_in_a_process(
    config: PipelineConfig, *arguments: str, timeout_seconds: float = 120
) -> "subprocess.CompletedProcess[str]":
    """Drain lane 0 in a process of its own, which may kill itself at a labelled point (see `crash_drain`)."""
    return _run(crash_drain_command(config, *arguments), timeout_seconds)


def repair_in_a_process(
    config: PipelineConfig, *arguments: str, timeout_seconds: float = 120
) -> "subprocess.CompletedProcess[str]":
    """Replay or rebuild in a process of its own, which may kill itself at a labelled point (see `crash_repair`)."""
    return _run(_command("crash_repair", config, *arguments), timeout_seconds)


def _command(module: str, config: PipelineConfig, *arguments: str) -> list[str]:
    settings = json.dumps(config.model_dump(mode="json", by_alias=True))
    return [sys.executable, "-m", f"arrow_ingest_tests.{module}", settings, *arguments]


def _run(command: list[str], timeout_seconds: float) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout_seconds, check=False)
