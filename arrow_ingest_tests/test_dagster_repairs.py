"""Jobs that mend a table: what Dagster shows of a replay of dead letters."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from arrow_ingest.components.names import Check, Names
from arrow_ingest.components.pipeline_definitions import pipeline_definitions
from arrow_ingest.config import PipelineConfig
from arrow_ingest.demo.broker import EmbeddedBroker
from arrow_ingest_tests.dagster_home import instance_in
from arrow_ingest_tests.test_dagster_runs import (
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


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with instance_in(tmp_path / "dagster") as made:
        yield made


@pytest.fixture
def config(broker: EmbeddedBroker, topic: Callable[..., str], tmp_path: Path) -> PipelineConfig:
    return pipeline(tmp_path, broker.bootstrap_servers, topic(PARTITIONS))


def replay_run(config: PipelineConfig, instance: dg.DagsterInstance, **asked: Any) -> dg.ExecuteInProcessResult:
    """A run of the replay job as its launchpad starts it."""
    names = Names.of(config)
    job = pipeline_definitions(config).resolve_job_def(names.replay_job)
    run_config = {"ops": {names.replay_op: {"config": asked}}} if asked else None
    return job.execute_in_process(instance=instance, run_config=run_config, raise_on_error=False)


def replay_metadata(config: PipelineConfig, result: dg.ExecuteInProcessResult) -> dict[str, object]:
    [output] = [event for event in result.all_events if event.is_successful_output]
    return {key: value.value for key, value in output.step_output_data.metadata.items()}


def newest_dead_letters(config: PipelineConfig, instance: dg.DagsterInstance) -> dg.AssetCheckEvaluation:
    key = dg.AssetCheckKey(Names.of(config).table, Check.DEAD_LETTERS.value)
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
    assert replay_metadata(config, dry)["replayed"] == 2
    assert not newest_dead_letters(config, instance).passed

    result = replay_run(config, instance)
    assert result.success
    found = replay_metadata(config, result)
    assert (found["replayed"], found["rows"], found["still_dead"]) == (2, 2 * ROWS, 0)
    assert found["replayed_by_reason"] == {"too_many_rows": 2}
    assert newest_dead_letters(config, instance).passed
    assert all(check_states(config, instance).values())
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
    assert replay_metadata(config, result)["still_dead_by_reason"] == {"framing": 1}
    assert not newest_dead_letters(config, instance).passed
