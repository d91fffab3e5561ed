"""Maintenance as Dagster runs it, by its schedule and by a click: what the instance holds afterwards."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from arrow_ingest.components import maintenance_asset
from arrow_ingest.components.asset_checks import build_partition_checks
from arrow_ingest.components.maintenance_asset import build_maintenance_schedule
from arrow_ingest.components.names import MAINTENANCE_TAG, Check, Names
from arrow_ingest.components.pipeline_definitions import pipeline_definitions
from arrow_ingest.components.verdicts import small_files
from arrow_ingest.config import PipelineConfig
from arrow_ingest.lake.catalog import catalog_of
from arrow_ingest.lake.statistics import PartitionFiles
from arrow_ingest.maintenance_settings import Step
from arrow_ingest_tests.drained_lake import Drained
from arrow_ingest_tests.test_maintenance import files_on_disk, rows, tidied

COMMITS = 3
RUNNING = dg.DefaultScheduleStatus.RUNNING


@pytest.fixture
def drained(tmp_path: Path) -> Iterator[Drained]:
    """Two old days of a few small files each, one more than the check lets pass."""
    merging = {"min_files": 1, "warn_files": COMMITS - 1}
    lane = Drained(tmp_path, tidied(tmp_path, f"sqlite:{tmp_path / 'catalog.sqlite'}", merge=merging))
    with lane.lake:
        for _ in range(COMMITS):
            lane.commit(2)
        yield lane


def run(config: PipelineConfig, instance: dg.DagsterInstance, **said: object) -> dg.ExecuteInProcessResult:
    """A run of the job, with what the launchpad says."""
    names = Names.of(config)
    job = pipeline_definitions(config).resolve_job_def(names.maintenance_job)
    run_config = {"ops": {names.maintenance_op: {"config": said}}}
    return job.execute_in_process(instance=instance, run_config=run_config, raise_on_error=False)


def warned(config: PipelineConfig, instance: dg.DagsterInstance) -> dict[str, bool]:
    """The newest answer of the check `small_files`, by day: whether it warns."""
    key = dg.AssetCheckKey(Names.of(config).table, Check.SMALL_FILES)
    found = instance.event_log_storage.get_asset_check_partition_info([key])
    return {
        info.partition_key: info.latest_execution_status is AssetCheckExecutionRecordStatus.FAILED
        for info in found
        if info.partition_key is not None  # the run's plan, which names no day
    }


def newest(config: PipelineConfig, instance: dg.DagsterInstance) -> dg.AssetMaterialization | None:
    records = instance.fetch_materializations(Names.of(config).maintenance, limit=1).records
    return records[0].asset_materialization if records else None


def test_the_schedule_starts_a_run_that_merges_plots_it_and_takes_the_warning_back(
    drained: Drained, instance: dg.DagsterInstance
) -> None:
    config, before = drained.config, rows(drained.lake)
    checks = dg.Definitions(asset_checks=[build_partition_checks(config)]).resolve_implicit_global_asset_job_def()
    assert checks.execute_in_process(instance=instance).success
    assert warned(config, instance) == {"2026-11-04": True, "2026-11-05": True}

    planned = run(config, instance, dry_run=True, only=["merge"])
    assert planned.success
    assert newest(config, instance) is None
    [seen] = instance.fetch_observations(Names.of(config).maintenance, limit=5).records
    assert seen.asset_observation is not None
    assert seen.asset_observation.metadata["merge/files_merged"].value == 2 * COMMITS
    assert len(files_on_disk(config)) == 2 * COMMITS

    at = datetime(2026, 11, 5, 0, 20, tzinfo=UTC)
    schedule = build_maintenance_schedule(config)
    with dg.build_schedule_context(instance=instance, scheduled_execution_time=at) as context:
        assert len(schedule.evaluate_tick(context).run_requests) == 1
    assert (schedule.job_name, schedule.default_status) == (Names.of(config).maintenance_job, RUNNING)
    done = run(config, instance)
    assert (done.success, done.dagster_run.tags[MAINTENANCE_TAG]) == (True, "events")
    made = newest(config, instance)
    assert made is not None
    assert (made.metadata["files_before"].value, made.metadata["files_after"].value) == (2 * COMMITS, 2)
    assert {
        "size_bytes_before",
        "snapshots_before",
        "snapshots_after",
        "milliseconds",
        "merge/milliseconds",
        "steps",
    } <= (made.metadata.keys())
    assert warned(config, instance) == {"2026-11-04": False, "2026-11-05": False}
    assert rows(drained.lake) == before
    assert drained.verify(full=True, strict=True).findings == ()


def test_a_step_that_fails_fails_the_run_and_the_others_are_told(
    drained: Drained, instance: dg.DagsterInstance
) -> None:
    broken = Path(drained.config.lake.data_path) / min(files_on_disk(drained.config))
    broken.write_bytes(broken.read_bytes()[:100])
    failed = run(drained.config, instance, only=["merge", "roll_up"])
    assert not failed.success
    [failure] = [event for event in failed.all_events if event.is_step_failure]
    assert "merge: " in str(failure.step_failure_data.error)
    made = newest(drained.config, instance)
    assert made is not None
    assert {f"{Step.MERGE}/milliseconds", f"{Step.ROLL_UP}/milliseconds"} <= made.metadata.keys()


def test_a_run_that_meets_another_maintenance_is_tried_again(
    drained: Drained, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance_asset, "BUSY_SECONDS", 1)
    held, ended = threading.Event(), threading.Event()

    def tidy() -> None:
        with catalog_of(drained.config.lake).maintenance_lock(holder="another pipeline"):
            held.set()
            ended.wait(60)

    other = threading.Thread(target=tidy)
    other.start()
    try:
        assert held.wait(60)
        threading.Timer(2, ended.set).start()
        result = run(drained.config, instance, only=["merge"])
    finally:
        ended.set()
        other.join()
    assert result.success
    assert any(event.event_type is dg.DagsterEventType.STEP_UP_FOR_RETRY for event in result.all_events)
    assert newest(drained.config, instance) is not None


def test_small_files_are_told_of_once_the_next_maintenance_had_its_turn(drained: Drained) -> None:
    config, noon = drained.config, datetime(2026, 11, 5, 12, tzinfo=UTC)
    few, many = PartitionFiles(90, 9, COMMITS - 1), PartitionFiles(90, 9, COMMITS)
    for value, files, day, passed in [
        ("2026-11-03", few, noon, True),
        ("2026-11-03", many, noon, False),
        ("2026-11-04", many, noon, True),  # merged in the night that comes
        ("2026-11-05", many, noon, True),
        (None, many, noon, False),
    ]:
        verdict = small_files(config, value, {value: files}, day)
        assert (verdict.passed, verdict.numbers["small_files"]) == (passed, files.small_files), value
    assert "`arrow-ingest maintain events`" in small_files(config, "2026-11-03", {"2026-11-03": many}, noon).says
