"""What mends a table, or comes late for it: what Dagster shows of a replay, a rebuild and late days."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from arrow_ingest.components.names import PIPELINE_CHECKS, Check, Names
from arrow_ingest.components.pipeline_definitions import pipeline_definitions
from arrow_ingest.config import PipelineConfig
from arrow_ingest.demo.broker import EmbeddedBroker
from arrow_ingest.lake.session import open_lake
from arrow_ingest_tests.dagster_runs import (
    PARTITIONS,
    ROWS,
    THREE_DAYS,
    check_states,
    materializations,
    partition_badges,
    pipeline,
    send,
    send_garbage,
    supervised_run,
    versions,
)
from arrow_ingest_tests.lake_contents import make_topic_again


@pytest.fixture
def config(broker: EmbeddedBroker, topic: Callable[..., str], tmp_path: Path) -> PipelineConfig:
    return pipeline(tmp_path, broker.bootstrap_servers, topic(PARTITIONS))


def replay_run(config: PipelineConfig, instance: dg.DagsterInstance, **asked: Any) -> dg.ExecuteInProcessResult:
    """A run of the replay job as its launchpad starts it."""
    names = Names.of(config)
    job = pipeline_definitions(config).resolve_job_def(names.replay_job)
    run_config = {"ops": {names.replay_op: {"config": asked}}} if asked else None
    return job.execute_in_process(instance=instance, run_config=run_config, raise_on_error=False)


def output_metadata(result: dg.ExecuteInProcessResult) -> dict[str, object]:
    [output] = [event for event in result.all_events if event.is_successful_output]
    return {key: value.value for key, value in output.step_output_data.metadata.items()}


def failure_of(result: dg.ExecuteInProcessResult) -> str:
    [failure] = [event for event in result.all_events if event.is_step_failure]
    return str(failure.step_failure_data)


def newest_dead_letters(config: PipelineConfig, instance: dg.DagsterInstance) -> dg.AssetCheckEvaluation:
    return newest(Check.DEAD_LETTERS, config, instance)


def newest(check: Check, config: PipelineConfig, instance: dg.DagsterInstance) -> dg.AssetCheckEvaluation:
    key = dg.AssetCheckKey(Names.of(config).table, check.value)
    [row] = instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
    assert isinstance(row.evaluation, dg.AssetCheckEvaluation)
    return row.evaluation


def test_replay_materialises_the_days_of_its_rows_and_the_check_is_green_again(
    config: PipelineConfig, instance: dg.DagsterInstance
) -> None:
    send(config, *THREE_DAYS)
    assert supervised_run(config, instance).success
    before = versions(config, instance)
    refusing = config.model_copy(update={"limits": config.limits.model_copy(update={"max_rows": 1})})
    send(config, THREE_DAYS[1], THREE_DAYS[1])
    assert supervised_run(refusing, instance).success
    told = newest_dead_letters(config, instance)
    assert (told.passed, told.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert told.metadata["unresolved"].value == 2
    assert told.metadata["by_reason"].value == {"too_many_rows": 2}
    assert supervised_run(config, instance).success
    assert not newest_dead_letters(config, instance).passed, "a run that reads nothing does not cover it up"

    dry = replay_run(config, instance, dry_run=True, reasons=["too_many_rows"])
    assert output_metadata(dry)["replayed"] == 2
    assert not newest_dead_letters(config, instance).passed

    result = replay_run(config, instance)
    assert result.success
    found = output_metadata(result)
    assert (found["replayed"], found["rows"], found["still_dead"]) == (2, 2 * ROWS, 0)
    assert found["replayed_by_reason"] == {"too_many_rows": 2}
    assert newest_dead_letters(config, instance).passed
    assert check_states(config, instance) == dict.fromkeys(PIPELINE_CHECKS, True)
    after = versions(config, instance)
    assert {day for day in after if after[day] != before[day]} == {THREE_DAYS[1]}
    assert materializations(config, instance)[-1].metadata["dagster/partition_row_count"].value == 3 * ROWS
    badges = partition_badges(config, instance)
    assert badges[THREE_DAYS[1]].latest_target_materialization_storage_id == (
        badges[THREE_DAYS[1]].latest_materialization_storage_id
    )


def test_a_replay_of_no_known_reason_fails_and_says_so(config: PipelineConfig, instance: dg.DagsterInstance) -> None:
    send_garbage(config)
    assert supervised_run(config, instance).success
    assert not replay_run(config, instance, reasons=["bad weather"]).success
    result = replay_run(config, instance)
    assert result.success
    assert output_metadata(result)["still_dead_by_reason"] == {"framing": 1}
    assert not newest_dead_letters(config, instance).passed


def rebuild_run(config: PipelineConfig, instance: dg.DagsterInstance, **asked: Any) -> dg.ExecuteInProcessResult:
    """A run of the rebuild job as its launchpad starts it."""
    names = Names.of(config)
    job = pipeline_definitions(config).resolve_job_def(names.rebuild_job)
    run_config = {"ops": {names.rebuild_op: {"config": asked}}}
    return job.execute_in_process(instance=instance, run_config=run_config, raise_on_error=False)


def clicked_rebuild(config: PipelineConfig, instance: dg.DagsterInstance, days: tuple[str, str]) -> bool:
    """A run of the Materialize button with run config, over a range of partitions."""
    names = Names.of(config)
    job = pipeline_definitions(config).resolve_implicit_global_asset_job_def()
    tags = dict(zip(("dagster/asset_partition_range_start", "dagster/asset_partition_range_end"), days, strict=True))
    return (
        job.get_subset(asset_selection={names.table})
        .execute_in_process(
            instance=instance,
            tags=tags,
            run_config={"ops": {names.op: {"config": {"rebuild": True}}}},
            raise_on_error=False,
        )
        .success
    )


def all_rows(config: PipelineConfig) -> list[tuple[Any, ...]]:
    with open_lake(config.lake, read_only=True) as lake:
        return lake.execute("FROM lake.main.events ORDER BY ALL")


def test_rebuilt_days_get_a_new_version_with_the_same_rows_and_others_none(
    config: PipelineConfig, instance: dg.DagsterInstance
) -> None:
    send(config, *THREE_DAYS, THREE_DAYS[0])
    assert supervised_run(config, instance).success
    first, second, third = THREE_DAYS
    before, rows = versions(config, instance), all_rows(config)
    result = rebuild_run(config, instance, first=first, last=second)
    assert result.success
    told = output_metadata(result)
    assert (told["partitions"], told["rows"]) == ([first, second], 3 * ROWS)
    after = versions(config, instance)
    assert {day for day in after if after[day] != before[day]} == {first, second}
    assert all_rows(config) == rows
    newest_of_first = [found for found in materializations(config, instance) if found.partition == first][-1]
    assert newest_of_first.metadata["dagster/partition_row_count"].value == 2 * ROWS
    assert check_states(config, instance) == dict.fromkeys(PIPELINE_CHECKS, True)

    before = after
    assert clicked_rebuild(config, instance, (second, third))
    after = versions(config, instance)
    assert {day for day in after if after[day] != before[day]} == {second, third}
    assert all_rows(config) == rows
    assert supervised_run(config, instance).success
    assert versions(config, instance) == after


def test_a_refused_rebuild_fails_with_the_reason_and_changes_nothing(
    config: PipelineConfig, instance: dg.DagsterInstance
) -> None:
    send(config, *THREE_DAYS)
    assert supervised_run(config, instance).success
    before, rows = versions(config, instance), all_rows(config)
    assert "name table partitions" in failure_of(rebuild_run(config, instance))
    make_topic_again(config)
    assert "was made again" in failure_of(rebuild_run(config, instance, partitions=[THREE_DAYS[0]]))
    assert (versions(config, instance), all_rows(config)) == (before, rows)


def late_rows_told(
    config: PipelineConfig, instance: dg.DagsterInstance
) -> dict[str | None, tuple[bool, dg.AssetCheckSeverity]]:
    """What was last told of each table partition."""
    key = dg.AssetCheckKey(Names.of(config).table, Check.LATE_ROWS.value)
    found: dict[str | None, tuple[bool, dg.AssetCheckSeverity]] = {}
    for record in instance.event_log_storage.get_asset_check_execution_history(key, limit=100):
        assert record.evaluation is not None
        found.setdefault(record.evaluation.partition, (record.evaluation.passed, record.evaluation.severity))
    return found


def test_a_late_day_is_materialised_again_and_told(config: PipelineConfig, instance: dg.DagsterInstance) -> None:
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    long_ago = f"{datetime.now(UTC) - timedelta(days=40):%Y-%m-%d}"
    by = {"column": "timestamp", "start": "2020-01-01"}
    config = PipelineConfig.model_validate({**config.model_dump(by_alias=True), "partition_by": by})
    send(config, today)
    assert supervised_run(config, instance).success
    assert late_rows_told(config, instance) == {today: (True, dg.AssetCheckSeverity.WARN)}
    send(config, today, long_ago)
    assert supervised_run(config, instance).success
    assert late_rows_told(config, instance) == {
        today: (True, dg.AssetCheckSeverity.WARN),
        long_ago: (False, dg.AssetCheckSeverity.WARN),
    }
    found = {each.partition: each for each in materializations(config, instance)}
    assert found[long_ago].metadata["late_rows"].value == ROWS
    assert found[today].metadata["late_rows"].value == 0
    assert newest(Check.OUT_OF_RANGE_DAYS, config, instance).passed


def test_days_outside_the_declared_ones_are_counted_by_day(
    config: PipelineConfig, instance: dg.DagsterInstance
) -> None:
    send(config, "1999-12-31", "2999-01-01", "1999-12-31", THREE_DAYS[0])
    assert supervised_run(config, instance).success
    told = newest(Check.OUT_OF_RANGE_DAYS, config, instance)
    assert not told.passed
    assert told.metadata["rows_by_day"].value == {"1999-12-31": 2 * ROWS, "2999-01-01": ROWS}
