"""What Dagster's event log says of a table: how far it is published, what was shown, what a check points at."""

from dataclasses import dataclass, replace

import dagster as dg

# Not public in Dagster 1.13, and without it no badge shows (FACTS).
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData,
)
from dagster._core.event_api import PartitionKeyFilter
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from arrow_ingest.components.metadata import COLUMN_SCHEMA, PUBLISHED_THROUGH
from arrow_ingest.components.names import Check

Target = AssetCheckEvaluationTargetMaterializationData

LOOK_BACK = 20
"""Materialisations that are looked through: some may have been reported by hand and say nothing."""


@dataclass(frozen=True, slots=True)
class Published:
    """How far a table is published; by default, with a new DAGSTER_HOME, not at all.

    Args:
        through: every table partition whose newest snapshot is at most this one is published.
        columns: the columns that were shown; None: none were yet.
    """

    through: int = 0
    columns: frozenset[str] | None = None


def published(instance: dg.DagsterInstance, table: dg.AssetKey) -> Published:
    """What the newest publication says: its last materialisation, or the check after it.

    Commits that touch no partition to show (nothing but dead letters, say) are published by the check alone.
    """
    materialised_at, shown = _newest_shown(instance, table)
    key = dg.AssetCheckKey(table, str(Check.OFFSETS_CONTIGUOUS))
    for row in instance.event_log_storage.get_asset_check_execution_history(key, limit=LOOK_BACK):
        answer = row.evaluation  # not an evaluation yet while the check is only planned
        through = answer.metadata.get(PUBLISHED_THROUGH) if isinstance(answer, dg.AssetCheckEvaluation) else None
        if row.event and isinstance(through, dg.IntMetadataValue) and through.value is not None:
            return replace(shown, through=through.value) if row.event.timestamp >= materialised_at else shown
    return shown


def _newest_shown(instance: dg.DagsterInstance, table: dg.AssetKey) -> tuple[float, Published]:
    """The newest materialisation of ours: when it was, in Unix seconds, and what it says."""
    for record in instance.fetch_materializations(table, limit=LOOK_BACK).records:
        metadata = record.asset_materialization.metadata if record.asset_materialization else {}
        through, shown = metadata.get(PUBLISHED_THROUGH), metadata.get(COLUMN_SCHEMA)
        if isinstance(through, dg.IntMetadataValue) and through.value is not None:
            return record.timestamp, Published(through.value, _column_names(shown))
    return 0.0, Published()


def newest_materialization(instance: dg.DagsterInstance, table: dg.AssetKey, partition: str | None) -> Target | None:
    """What a check of a table partition (None: of the table) has to point at, or the UI shows no status for it."""
    wanted = table if partition is None else dg.AssetRecordsFilter(asset_key=table, asset_partitions=[partition])
    records = instance.fetch_materializations(wanted, limit=1).records
    if not records:
        return None
    return Target(storage_id=records[0].storage_id, run_id=records[0].run_id, timestamp=records[0].timestamp)


def failed_partitions(instance: dg.DagsterInstance, table: dg.AssetKey, check: Check) -> frozenset[str | None]:
    """The table partitions whose last answer of a check was no; None: a table without partitions."""
    found = instance.event_log_storage.get_asset_check_partition_info([dg.AssetCheckKey(table, str(check))])
    failed = AssetCheckExecutionRecordStatus.FAILED
    return frozenset(info.partition_key for info in found if info.latest_execution_status == failed)


def newest_teller(instance: dg.DagsterInstance, table: dg.AssetKey, check: Check, partition: str | None) -> str | None:
    """The run that gave a check's newest answer; empty: it was given outside of runs; None: nobody gave one."""
    newest = instance.event_log_storage.get_asset_check_execution_history(
        dg.AssetCheckKey(table, str(check)), limit=1, partition_filter=PartitionKeyFilter(key=partition)
    )
    return newest[0].run_id if newest else None


def _column_names(shown: dg.MetadataValue | None) -> frozenset[str] | None:
    if not isinstance(shown, dg.TableSchemaMetadataValue):
        return None
    return frozenset(column.name for column in shown.schema.columns)
