"""SQL models under Dagster: their runs, what is told of each day, and which days are made new by themselves."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from arrow_ingest.components.model_definitions import model_definitions
from arrow_ingest.components.model_spec import ModelNames
from arrow_ingest.components.names import Names
from arrow_ingest.components.pipeline_definitions import pipeline_definitions
from arrow_ingest.components.table_spec import event_tags
from arrow_ingest.errors import ConfigError
from arrow_ingest.model_settings import SqlModel
from arrow_ingest_tests.model_lake import ModelLake

FIRST, SECOND, THIRD = "2026-11-03", "2026-11-04", "2026-11-05"
DAYS = (FIRST, SECOND, THIRD)
CHECKS: list[dict[str, Any]] = [
    {"not_null": ["event"]},
    {"accepted_range": {"column": "events", "max": 5}},
    {"accepted_values": {"column": "event", "values": ["$pageview"]}, "severity": "warn"},
]


@pytest.fixture
def lake(tmp_path: Path) -> ModelLake:
    made = ModelLake(tmp_path)
    made.commit(*DAYS)
    return made


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def defs_of(model: SqlModel) -> dg.Definitions:
    return dg.Definitions.merge(pipeline_definitions(model.pipeline), model_definitions(model))


def launched(
    model: SqlModel, instance: dg.DagsterInstance, first: str, last: str | None = None, **config: Any
) -> dg.ExecuteInProcessResult:
    """A run of a range as a backfill launches it, with the checks."""
    names = ModelNames.of(model)
    job = defs_of(model).resolve_implicit_global_asset_job_def().get_subset(asset_selection={names.table})
    tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last or first}
    run_config = {"ops": {names.op: {"config": config}}} if config else {}
    return job.execute_in_process(instance=instance, tags=tags, run_config=run_config, raise_on_error=False)


def materialised(model: SqlModel, instance: dg.DagsterInstance) -> dict[str | None, dg.AssetMaterialization]:
    """The newest materialisation of each day."""
    records = instance.fetch_materializations(ModelNames.of(model).table, limit=100, ascending=True).records
    return {found.partition: found for record in records if (found := record.asset_materialization)}


def checks(model: SqlModel, instance: dg.DagsterInstance) -> dict[tuple[str, str | None], str]:
    """What each check says of each day."""
    keys = [dg.AssetCheckKey(ModelNames.of(model).table, check.key) for check in model.config.checks]
    found = instance.event_log_storage.get_asset_check_partition_info(keys)
    return {(info.check_key.name, info.partition_key): info.latest_execution_status.value for info in found}


def test_range_is_one_run_that_tells_of_each_day(lake: ModelLake, instance: dg.DagsterInstance) -> None:
    model = lake.model(checks=CHECKS)
    assert launched(model, instance, *(FIRST, THIRD)).success
    told = materialised(model, instance)
    assert set(told) == set(DAYS)
    metadata = told[SECOND].metadata
    assert metadata["dagster/partition_row_count"].value == 1
    assert metadata["why"].value == "new: never computed before"
    assert isinstance(metadata["source_snapshot"].value, int)
    schema, lineage = metadata["dagster/column_schema"].value, metadata["dagster/column_lineage"].value
    assert {column.name: column.description for column in schema.columns} == {
        "day": "from events: timestamp",
        "event": "from events: event",
        "events": None,
    }
    source = Names.of(model.pipeline).table
    assert {
        name: [(dep.asset_key, dep.column_name) for dep in deps] for name, deps in lineage.deps_by_column.items()
    } == {
        "day": [(source, "timestamp")],
        "event": [(source, "event")],
        "events": [],
    }
    assert set(checks(model, instance).values()) == {"SUCCEEDED"}
    assert len(checks(model, instance)) == len(CHECKS) * len(DAYS)

    lake.commit(FIRST, event="$other")
    assert launched(model, instance, FIRST, THIRD).success
    told = materialised(model, instance)
    assert [str(told[day].metadata["why"].value).partition(":")[0] for day in DAYS] == ["touched", "current", "current"]
    assert told[FIRST].metadata["dagster/partition_row_count"].value == 2
    said = checks(model, instance)
    assert {key for key, status in said.items() if status == "FAILED"} == {("accepted_values_event", FIRST)}

    lake.commit(SECOND)
    refused = launched(model, instance, SECOND)
    assert not refused.success
    assert checks(model, instance)["accepted_range_events", SECOND] == "FAILED"
    assert lake.query(f"SELECT events FROM lake.main.daily WHERE day = DATE '{SECOND}'") == [(3,)]
    assert not launched(model, instance, SECOND, force=True).success


def publish(model: SqlModel, instance: dg.DagsterInstance, day: str, version: int) -> None:
    """What the pipeline's publisher tells of a day."""
    tags = event_tags(model.pipeline, version)
    instance.report_runless_asset_event(
        dg.AssetMaterialization(Names.of(model.pipeline).table, partition=day, tags=tags)
    )


def asked(model: SqlModel, instance: dg.DagsterInstance, cursor: Any = None) -> tuple[set[str], Any]:
    """The days that the sensor would ask for, and its next cursor."""
    result = dg.evaluate_automation_conditions(defs_of(model), instance, cursor=cursor)
    return set(result.get_requested_partitions(ModelNames.of(model).table)), result.cursor


@pytest.mark.parametrize(
    ("reads", "around"),
    [({}, {FIRST}), ({"before": 1, "after": 1}, {"2026-11-02", FIRST, SECOND})],
)
def test_old_day_that_is_published_anew_is_asked_for_once_and_no_other(
    lake: ModelLake, instance: dg.DagsterInstance, reads: dict[str, int], around: set[str]
) -> None:
    model = lake.model(reads=reads)
    _, cursor = asked(model, instance)
    for version, day in enumerate(DAYS):
        publish(model, instance, day, version)
    days, cursor = asked(model, instance, cursor)
    assert days >= set(DAYS)
    days, cursor = asked(model, instance, cursor)
    assert days == set()
    publish(model, instance, FIRST, 9)
    days, cursor = asked(model, instance, cursor)
    assert days == around
    assert asked(model, instance, cursor)[0] == set()


def test_query_without_end_and_cron_that_is_none_are_named_by_their_key(lake: ModelLake) -> None:
    with pytest.raises(ConfigError, match="parameters nobody") as refused:
        model_definitions(lake.model("SELECT $nobody AS day"))
    assert refused.value.key == "sql"
    with pytest.raises(ConfigError) as refused:
        model_definitions(lake.model(refresh="99 * * * *"))
    assert refused.value.key == "refresh"
    assert not model_definitions(lake.model(refresh="by_hand")).sensors
