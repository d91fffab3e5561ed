"""What Dagster's event log says of a table: how far it is published, what was shown, what a check points at."""

import dagster as dg

# Not public in Dagster 1.13, and without it no badge shows (FACTS).
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData,
)

from arrow_ingest.components.metadata import PUBLISHED_THROUGH

Target = AssetCheckEvaluationTargetMaterializationData

LOOK_BACK = 20
"""Materialisations that are looked through: some may have been reported by hand and say nothing."""


def published_through(instance: dg.DagsterInstance, table: dg.AssetKey) -> int:
    """The snapshot up to which everything is published; 0 with a new DAGSTER_HOME."""
    for record in instance.fetch_materializations(table, limit=LOOK_BACK).records:
        materialization = record.asset_materialization
        value = materialization.metadata.get(PUBLISHED_THROUGH) if materialization else None
        if isinstance(value, dg.IntMetadataValue) and value.value is not None:
            return value.value
    return 0


def shown_columns(instance: dg.DagsterInstance, table: dg.AssetKey) -> frozenset[str] | None:
    """The columns that the newest materialisation showed; None when none was shown yet."""
    for record in instance.fetch_materializations(table, limit=LOOK_BACK).records:
        materialization = record.asset_materialization
        shown = materialization.metadata.get("dagster/column_schema") if materialization else None
        if isinstance(shown, dg.TableSchemaMetadataValue):
            return frozenset(column.name for column in shown.schema.columns)
    return None


def newest_materialization(instance: dg.DagsterInstance, table: dg.AssetKey, partition: str | None) -> Target | None:
    """What a check of a table partition (None: of the table) has to point at, or the UI shows no status for it."""
    wanted = table if partition is None else dg.AssetRecordsFilter(asset_key=table, asset_partitions=[partition])
    records = instance.fetch_materializations(wanted, limit=1).records
    if not records:
        return None
    return Target(storage_id=records[0].storage_id, run_id=records[0].run_id, timestamp=records[0].timestamp)
