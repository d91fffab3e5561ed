"""A SQL model as Dagster knows it: names, asset spec, what makes its partitions new. No I/O."""

import warnings
from dataclasses import dataclass
from typing import Any

import dagster as dg

from arrow_ingest.components.names import Names
from arrow_ingest.components.table_spec import partitions_def
from arrow_ingest.model_settings import BY_HAND, ON_CHANGE, SqlModel


@dataclass(frozen=True, slots=True)
class ModelNames:
    """What the Dagster objects of one model are called."""

    table: dg.AssetKey
    source: dg.AssetKey
    group: str
    op: str
    checks_op: str
    sensor: str

    @classmethod
    def of(cls, model: SqlModel) -> "ModelNames":
        """The names of a model. The table's key is what SQL calls it, with the lake attached as ``lake``."""
        source = Names.of(model.pipeline)
        return cls(
            table=dg.AssetKey(["lake", model.lake.schema_name, model.lake.table]),
            source=source.table,
            group=source.group,
            op=f"model_{model.name}",
            checks_op=f"check_model_{model.name}",
            sensor=f"refresh_{model.name}_sensor",
        )


def model_spec(model: SqlModel) -> dg.AssetSpec:
    """The model's table, partitioned as the pipeline's is."""
    names, lake = ModelNames.of(model), model.lake
    return dg.AssetSpec(
        names.table,
        deps=[dg.AssetDep(names.source, partition_mapping=_mapping(model))],
        partitions_def=partitions_def(model.pipeline),
        kinds={"ducklake", "sql"},
        group_name=names.group,
        code_version=model.code_version,
        automation_condition=condition(model),
        description=f"{model.config.description or f'SQL model of `{model.pipeline.lake.table}`.'}\n\n```sql\n"
        f"{model.sql.strip()}\n```",
        metadata={
            "dagster/table_name": f"lake.{lake.schema_name}.{lake.table}",
            "dagster/uri": lake.data_path,
        },
    )


def condition(model: SqlModel) -> dg.AutomationCondition[Any] | None:
    """When a partition is made new by itself: once what it is made of has been published anew, however old it is.

    With a cron expression a partition is made new at most once a tick: a busy stream touches the present one every few
    seconds, and each time all of it is computed.

    `eager()` looks at the newest partition alone; this fires exactly the touched ones (FACTS).
    """
    refresh = model.config.refresh
    if refresh == BY_HAND:
        return None
    touched = dg.AutomationCondition.any_deps_updated().since_last_handled().with_label("touched")
    ready = dg.AutomationCondition.all_deps_blocking_checks_passed() & ~dg.AutomationCondition.in_progress()
    if refresh == ON_CHANGE:
        return touched & ready
    tick: dg.AutomationCondition[Any] = dg.AutomationCondition.cron_tick_passed(refresh, cron_timezone="UTC")
    return touched & tick.since_last_handled().with_label(f"tick of {refresh}") & ready


def build_refresh_sensor(model: SqlModel) -> dg.AutomationConditionSensorDefinition | None:
    """What asks the condition, on by default: Dagster's own one is not. None: the model is made new by hand."""
    if model.config.refresh == BY_HAND:
        return None
    names = ModelNames.of(model)
    return dg.AutomationConditionSensorDefinition(
        names.sensor,
        target=dg.AssetSelection.assets(names.table),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=5,
        description=f"Computes partitions of {model.lake.schema_name}.{model.lake.table} anew once they are touched.",
    )


def _mapping(model: SqlModel) -> dg.PartitionMapping | None:
    reads = model.config.reads
    if not (reads.before or reads.after):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # days that are not declared; a test pins what we rely on
        return dg.TimeWindowPartitionMapping(
            start_offset=-reads.before, end_offset=reads.after, allow_nonexistent_upstream_partitions=True
        )
