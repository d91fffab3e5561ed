"""Runs of a pipeline's table as Dagster starts them, what is sent before, and what its instance holds afterwards."""

import io
from collections.abc import Mapping
from pathlib import Path

import dagster as dg
import pyarrow as pa
from confluent_kafka import Producer
from dagster._core.storage.asset_check_execution_record import AssetCheckPartitionInfo

from arrow_ingest.components.names import PIPELINE_CHECKS, Check, Names
from arrow_ingest.components.pipeline_definitions import pipeline_definitions
from arrow_ingest.config import PipelineConfig

PARTITIONS = 2
ROWS = 10
THREE_DAYS = ("2026-03-01", "2026-03-02", "2026-03-03")


def pipeline(tmp_path: Path, bootstrap_servers: str, topic: str, *, is_partitioned: bool = True) -> PipelineConfig:
    settings = {
        "name": "events",
        "kafka": {"topic": topic, "bootstrap_servers": bootstrap_servers},
        "lake": {"catalog": f"sqlite:{tmp_path}/catalog.sqlite", "data_path": f"{tmp_path}/data", "table": "events"},
        "columns": {"timestamp": "timestamptz"},
        "run": {"until": "caught_up"},
    }
    by = {"partition_by": {"column": "timestamp", "start": "2026-01-01"}} if is_partitioned else {}
    return PipelineConfig.model_validate(settings | by)


def one_record_a_batch(config: PipelineConfig) -> Producer:
    """The embedded broker takes the last batch's *first* offset + 1 for the end of the log."""
    return Producer({"bootstrap.servers": config.kafka.bootstrap_servers, "batch.num.messages": 1})


def send(config: PipelineConfig, *days: str, extra: Mapping[str, object] | None = None) -> None:
    """One message of ``ROWS`` rows per day, round robin over the Kafka partitions."""
    producer = one_record_a_batch(config)
    for index, day in enumerate(days):
        columns = {"event": ["$pageview"] * ROWS, "timestamp": [f"{day}T02:00:00Z"] * ROWS, **(extra or {})}
        batch = pa.record_batch(columns)
        sink = io.BytesIO()
        with pa.ipc.new_stream(sink, batch.schema) as stream:
            stream.write_batch(batch)
        producer.produce(config.kafka.topic, sink.getvalue(), partition=index % PARTITIONS)
    assert producer.flush(10) == 0


def send_garbage(config: PipelineConfig) -> None:
    producer = one_record_a_batch(config)
    producer.produce(config.kafka.topic, b"not Arrow", partition=0)
    assert producer.flush(10) == 0


def supervised_run(config: PipelineConfig, instance: dg.DagsterInstance, *, lane: int = 0) -> dg.ExecuteInProcessResult:
    """A run as the sensor asks for it."""
    job = pipeline_definitions(config).resolve_job_def(Names.of(config).job)
    return job.execute_in_process(instance=instance, tags=Names.of(config).run_tags(lane), raise_on_error=False)


def clicked_run(config: PipelineConfig, instance: dg.DagsterInstance, **tags: str) -> dg.ExecuteInProcessResult:
    """A run as the Materialize button or a backfill launches it."""
    job = pipeline_definitions(config).resolve_implicit_global_asset_job_def()
    with_checks = job.get_subset(asset_selection={Names.of(config).table})
    return with_checks.execute_in_process(
        instance=instance, tags={key.replace("__", "/"): value for key, value in tags.items()}, raise_on_error=False
    )


def materializations(config: PipelineConfig, instance: dg.DagsterInstance) -> list[dg.AssetMaterialization]:
    """All of the table's, oldest first."""
    records = instance.fetch_materializations(Names.of(config).table, limit=1000, ascending=True).records
    return [found for record in records if (found := record.asset_materialization) is not None]


def versions(config: PipelineConfig, instance: dg.DagsterInstance) -> dict[str | None, int]:
    """Newest data version per table partition."""
    return {
        found.partition: int((found.tags or {})["dagster/data_version"]) for found in materializations(config, instance)
    }


def partition_badges(config: PipelineConfig, instance: dg.DagsterInstance) -> dict[str | None, AssetCheckPartitionInfo]:
    key = dg.AssetCheckKey(Names.of(config).table, Check.ROWS_ACCOUNTED_FOR)
    return {info.partition_key: info for info in instance.event_log_storage.get_asset_check_partition_info([key])}


def check_states(config: PipelineConfig, instance: dg.DagsterInstance) -> dict[str, bool]:
    """The newest answer of every check of the pipeline as a whole."""
    keys = [dg.AssetCheckKey(Names.of(config).table, check) for check in PIPELINE_CHECKS]
    records = instance.event_log_storage.get_latest_asset_check_execution_by_key(keys)
    return {key.name: record.evaluation.passed for key, record in records.items() if record and record.evaluation}
