"""What a process leaves lying about: no core dump, no file for everybody, no payload in Dagster's storage."""

import io
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from arrow_ingest.components.names import Names
from arrow_ingest.components.pipeline_definitions import pipeline_definitions
from arrow_ingest.config import PipelineConfig
from arrow_ingest.demo.broker import EmbeddedBroker
from arrow_ingest.lake.session import open_lake
from arrow_ingest.producer.arrow import ArrowProducer
from arrow_ingest.values import Point
from arrow_ingest_tests.arrow_payloads import stream_of
from arrow_ingest_tests.dagster_home import instance_in
from arrow_ingest_tests.lake_contents import crash_drain_command, pipeline

CANARY = "canary-2f6d1c"
"""Stands in values, keys, headers and bytes that are no rows; column names are no secret."""


@pytest.fixture
def config(broker: EmbeddedBroker, topic: Callable[..., str], tmp_path: Path) -> PipelineConfig:
    """A topic with a good row, two bad messages and one that the table refuses, all of which hold the canary."""
    config = pipeline(tmp_path, broker.bootstrap_servers, topic(1), dead_letters={"max_per_run": 2, "max_share": 0.1})
    day = pa.array(["2026-11-20T12:00:00"])
    good = pa.record_batch({"timestamp": day, "event": pa.array([CANARY])})
    uncastable = pa.record_batch({"timestamp": pa.array([CANARY]), "event": pa.array([CANARY])})
    other_type = pa.record_batch({"timestamp": day, "event": pa.StructArray.from_arrays([pa.array([CANARY])], ["x"])})
    with ArrowProducer(config.kafka.topic, {"bootstrap.servers": broker.bootstrap_servers}) as producer:
        for payload in (*(stream_of(batch).to_pybytes() for batch in (good, uncastable, other_type)), CANARY.encode()):
            producer.send_payload(payload, key=CANARY.encode(), headers={"trace": CANARY.encode()}, partition=0)
    return config


def test_dagsters_storage_holds_nothing_of_what_messages_hold(config: PipelineConfig, tmp_path: Path) -> None:
    with instance_in(tmp_path / "dagster") as instance:
        job = pipeline_definitions(config).resolve_job_def(Names.of(config).job)
        run = job.execute_in_process(instance=instance, tags=Names.of(config).run_tags(0), raise_on_error=False)
        assert not run.success  # over the budget of dead letters, which is told in events, checks and tags
    with open_lake(config.lake, read_only=True) as lake:
        letters = lake.execute("SELECT count(*), count(DISTINCT reason) FROM lake.main.events__dead_letters")
        assert lake.execute("SELECT event FROM lake.main.events") == [(CANARY,)]
    assert letters == [(3, 3)]
    stored = [file for file in (tmp_path / "dagster").rglob("*") if file.is_file()]
    assert any(b"ASSET_MATERIALIZATION" in file.read_bytes() for file in stored)
    assert [file for file in stored if CANARY.encode() in file.read_bytes()] == []


def test_a_run_dumps_no_core_and_writes_no_file_that_everybody_may_read(config: PipelineConfig, tmp_path: Path) -> None:
    careless = ["sh", "-c", 'ulimit -c "$(ulimit -H -c)"; umask 022; exec "$@"', "sh"]
    command = [*careless, *crash_drain_command(config, Point.COMMITTED.value, "wait")]
    run = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    assert run.stdout.readline() == "waiting\n"
    limits = io.StringIO(Path(f"/proc/{run.pid}/limits").read_text())
    assert next(line.split()[4] for line in limits if line.startswith("Max core file size")) == "0"
    run.communicate("\n", timeout=60)
    written = [path for path in (tmp_path / "lake").rglob("*") if path.suffix in (".parquet", ".sqlite", ".lock")]
    assert {path.suffix for path in written} == {".parquet", ".sqlite", ".lock"}
    assert [path for path in written if stat.S_IMODE(path.stat().st_mode) & 0o007] == []
