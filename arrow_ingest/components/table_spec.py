"""The table as Dagster knows it: its asset spec, its partitions and the tags of its events. No I/O."""

import hashlib
import json
from collections.abc import Iterable
from datetime import datetime, time

import dagster as dg

from arrow_ingest.components.names import Names
from arrow_ingest.config import PipelineConfig

SHAPING = {"columns", "on_cast_error", "partition_by", "schema_policy", "metadata_columns", "event_time"}
"""Settings that decide what a message becomes; a change of them is a new code version."""


def topic_spec(config: PipelineConfig) -> dg.AssetSpec:
    """The topic, an external asset: others write it, the sensor reports what the broker says of it."""
    names = Names.of(config)
    return dg.AssetSpec(
        names.topic,
        kinds={"kafka"},
        group_name=names.group,
        description=f"Kafka topic `{config.kafka.topic}`: one Arrow IPC stream a message.",
    )


def table_spec(config: PipelineConfig) -> dg.AssetSpec:
    """The table. ``skippable``: a run emits the materialisations of the partitions it finds touched, and no other."""
    names, lake = Names.of(config), config.lake
    return dg.AssetSpec(
        names.table,
        deps=[names.topic],
        partitions_def=partitions_def(config),
        skippable=True,
        kinds={"ducklake", "arrow", "parquet"},
        group_name=names.group,
        code_version=code_version(config),
        description=f"DuckLake table `{lake.schema_name}.{lake.table}`, exactly once from `{config.kafka.topic}`.",
        metadata={
            "dagster/table_name": f"lake.{lake.schema_name}.{lake.table}",
            "dagster/uri": lake.data_path,
        },
    )


def partitions_def(config: PipelineConfig) -> dg.PartitionsDefinition[str] | None:
    """UTC hours, days or months from `partition_by.start` up to and including the present one, or values as they come.

    None for a table without partitions.
    """
    by = config.partition_by
    if by is None:
        return None
    if by.start is None:
        return dg.DynamicPartitionsDefinition(name=Names.of(config).table_partitions)
    start = datetime.combine(by.start, time.min)
    match by.unit:
        case "hour":
            return dg.HourlyPartitionsDefinition(start, timezone="UTC", end_offset=1)
        case "month":
            return dg.MonthlyPartitionsDefinition(start.replace(day=1), timezone="UTC", end_offset=1)
        case _:
            return dg.DailyPartitionsDefinition(start, timezone="UTC", end_offset=1)


def declared_partitions(config: PipelineConfig, found: Iterable[str | None]) -> frozenset[str | None]:
    """The table partitions that Dagster knows now, or is told of when they are published.

    Args:
        found: those that the lake has. Where values are partitions, these are all there are, but for NULL.

    Of a table without partitions it is the table itself, None.
    """
    known = partitions_def(config)
    if isinstance(known, dg.DynamicPartitionsDefinition):
        return frozenset(found) - {None}
    return frozenset([None]) if known is None else frozenset(known.get_partition_keys())


def code_version(config: PipelineConfig) -> str:
    """Changes when messages would become other rows."""
    shaping = config.model_dump(mode="json", include=SHAPING)
    return hashlib.sha256(json.dumps(shaping, sort_keys=True).encode()).hexdigest()[:12]


def event_tags(config: PipelineConfig, version: int) -> dict[str, str]:
    """Tags of a materialisation: what Dagster would write itself for an output.

    Hand-emitted events carry no provenance. With a code version and without the two input tags, a table partition
    would always look stale; INITIAL and NULL are what an external asset without data versions has (FACTS).
    """
    topic = Names.of(config).topic.to_user_string()
    return {
        "dagster/data_version": str(version),
        "dagster/code_version": code_version(config),
        f"dagster/input_data_version/{topic}": "INITIAL",
        f"dagster/input_event_pointer/{topic}": "NULL",
    }
