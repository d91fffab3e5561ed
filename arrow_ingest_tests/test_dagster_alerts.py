"""The alert sensor over real runs, a real run history and a real HTTP receiver: each incident once, its end once."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.event_api import PartitionKeyFilter
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteInstigatorOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    ScheduleInstigatorData,
    TickData,
    TickStatus,
)
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster_shared.error import SerializableErrorInfo

from arrow_ingest.alerts.outbox import Memory
from arrow_ingest.components.alert_history import CHECKS, STALE_SECONDS, History
from arrow_ingest.components.alert_sensor import build_alert_sensor
from arrow_ingest.components.names import BUSY, LANE_STATE_TAG, Check, Names
from arrow_ingest.components.pipeline_definitions import pipeline_definitions
from arrow_ingest.config import PipelineConfig
from arrow_ingest.demo.broker import EmbeddedBroker
from arrow_ingest.lake.dead_letter_query import Wanted
from arrow_ingest.lake.letter_expiry import expire_letters
from arrow_ingest.lake.session import open_lake
from arrow_ingest.pipeline import interventions
from arrow_ingest.stack.child import free_port
from arrow_ingest_tests.alert_receiver import AlertReceiver, alert_receiver
from arrow_ingest_tests.dagster_runs import THREE_DAYS, pipeline, send, send_garbage, supervised_run

NO_DEAD_LETTERS = {"max_share": 0.0, "max_per_run": 0}


@dataclass
class Watch:
    """An alert sensor, as Dagster's daemon evaluates it."""

    config: PipelineConfig
    instance: dg.DagsterInstance

    def tick(self, cursor: str | None = None) -> str:
        """Evaluate the sensor once, as a code location does that has just been loaded; what it says."""
        sensor = build_alert_sensor(self.config)
        result = sensor(dg.build_sensor_context(instance=self.instance, cursor=cursor))
        assert isinstance(result, dg.SensorResult)
        assert result.cursor is None
        return str(result.skip_reason)

    def turned(self, name: str, kind: InstigatorType, status: InstigatorStatus) -> InstigatorState:
        """The state of a sensor or schedule, stored as Dagster's daemon stores it."""
        location = RegisteredCodeLocationOrigin("somewhere")
        origin = RemoteInstigatorOrigin(RemoteRepositoryOrigin(location, "__repository__"), name)
        data = ScheduleInstigatorData("20 0 * * *") if kind == InstigatorType.SCHEDULE else None
        state = InstigatorState(origin, kind, status, data)
        known = self.instance.get_instigator_state(state.instigator_origin_id, state.selector_id)
        (self.instance.update_instigator_state if known else self.instance.add_instigator_state)(state)
        return state

    def ticked(self, state: InstigatorState, status: TickStatus, **fields: Any) -> None:
        """One tick of it that ended."""
        self.instance.create_tick(
            TickData(
                state.instigator_origin_id,
                state.instigator_name,
                state.instigator_type,
                status,
                time.time(),
                selector_id=state.selector_id,
                **fields,
            )
        )

    def run_that(self, *, fails: bool, **tags: str) -> None:
        """A run of lane 0 that ended, and drained nothing."""

        @dg.op
        def drained() -> None:
            if fails:
                raise dg.Failure("the broker is down")

        job = dg.GraphDefinition("drained", node_defs=[drained]).to_job()
        named = {key.replace("__", "/"): value for key, value in tags.items()}
        all_tags = Names.of(self.config).run_tags(0) | named
        job.execute_in_process(instance=self.instance, tags=all_tags, raise_on_error=False)


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[AlertReceiver]:
    with alert_receiver() as running:
        monkeypatch.setenv("ARROW_INGEST_ALERT_URLS", running.url)
        yield running


@pytest.fixture
def watch(broker: EmbeddedBroker, topic: Callable[..., str], tmp_path: Path, instance: dg.DagsterInstance) -> Watch:
    return Watch(pipeline(tmp_path, broker.bootstrap_servers, topic(2)), instance)


@pytest.fixture
def idle(tmp_path: Path, instance: dg.DagsterInstance) -> Watch:
    """Over a pipeline whose broker nobody asks."""
    return Watch(pipeline(tmp_path, f"127.0.0.1:{free_port()}", "none"), instance)


def strict(watch: Watch) -> PipelineConfig:
    budget = watch.config.dead_letters.model_copy(update=NO_DEAD_LETTERS)
    return watch.config.model_copy(update={"dead_letters": budget})


def test_a_suspended_lane_is_told_once_and_its_recovery_once(watch: Watch, receiver: AlertReceiver) -> None:
    config = watch.config = strict(watch)
    send(config, THREE_DAYS[0])
    assert supervised_run(config, watch.instance).success
    watch.tick()
    assert receiver.titles == []
    send_garbage(config)
    result = supervised_run(config, watch.instance)
    assert not result.success
    receiver.is_refusing = True
    assert "503" in watch.tick()
    assert receiver.titles == []
    receiver.is_refusing = False
    watch.tick()
    assert receiver.titles == ["[events] lane 0 is suspended"]
    watch.tick('{"read_through": 0, "read": {}, "known": [], "waiting": {}}')
    assert len(receiver.titles) == 1, "a cursor that somebody moved tells nothing again"
    text = receiver.received[0]["message"]
    assert "dead_letter_budget" in text
    assert f"http://127.0.0.1:3000/runs/{result.run_id}" in text
    assert "http://127.0.0.1:3000/assets/lake/main/events" in text
    assert not supervised_run(config, watch.instance).success, "a probe finds the lane suspended still"
    watch.tick()
    assert len(receiver.titles) == 1
    interventions.resume(config, 0, run_id="operator")
    watch.tick()
    assert len(receiver.titles) == 1
    assert supervised_run(config, watch.instance).success
    watch.tick()
    watch.tick()
    assert receiver.titles == [
        "[events] lane 0 is suspended",
        "[events] recovered: lane 0 is suspended",
        "[events] check dead_letters failed",  # the letter itself still waits
    ]


def test_dead_letters_over_the_budget_wait_for_the_run_that_may_end_suspended(
    idle: Watch, receiver: AlertReceiver
) -> None:
    idle.tick()

    @dg.op
    def over_budget(context: dg.OpExecutionContext) -> None:
        context.log_event(
            dg.AssetCheckEvaluation(
                asset_key=Names.of(idle.config).table, check_name=Check.DEAD_LETTERS.value, passed=False
            )
        )
        idle.tick()
        assert receiver.titles == []

    job = dg.GraphDefinition("drained", node_defs=[over_budget]).to_job()
    assert job.execute_in_process(instance=idle.instance, tags=Names.of(idle.config).run_tags(0)).success
    idle.tick()
    assert receiver.titles == ["[events] check dead_letters failed"], "the run ended and its lane was not suspended"


def give_up_dead_letters(config: PipelineConfig) -> None:
    with open_lake(config.lake) as lake:
        assert expire_letters(lake, config, Wanted(), before=datetime.now(UTC), run_id="operator").letters


def test_dead_letters_that_are_given_up_before_a_tick_are_told(watch: Watch, receiver: AlertReceiver) -> None:
    watch.tick()
    send_garbage(watch.config)
    assert supervised_run(watch.config, watch.instance).success
    give_up_dead_letters(watch.config)
    assert supervised_run(watch.config, watch.instance).success
    watch.tick()
    watch.tick()
    failed = "check dead_letters failed"
    assert receiver.titles == [f"[events] {failed}", f"[events] recovered: {failed}"]
    assert [message["type"] for message in receiver.received] == ["warning", "success"]


def test_a_first_look_is_told_what_is_open_and_nothing_of_the_past(watch: Watch, receiver: AlertReceiver) -> None:
    send_garbage(watch.config)
    assert supervised_run(watch.config, watch.instance).success
    give_up_dead_letters(watch.config)
    assert supervised_run(watch.config, watch.instance).success
    send(watch.config, "1999-12-31")
    assert supervised_run(watch.config, watch.instance).success
    watch.tick()
    watch.tick()
    assert receiver.titles == ["[events] check out_of_range_days failed"]


def test_checks_below_the_configured_severity_are_not_told(watch: Watch, receiver: AlertReceiver) -> None:
    watch.config = watch.config.model_copy(
        update={"alerts": watch.config.alerts.model_copy(update={"min_severity": "error"})}
    )
    watch.tick()
    send_garbage(watch.config)
    assert supervised_run(watch.config, watch.instance).success
    watch.tick()
    assert receiver.titles == []


def test_runs_that_fail_in_a_row_are_one_incident_until_one_drains_again(idle: Watch, receiver: AlertReceiver) -> None:
    idle.run_that(fails=True)
    idle.tick()
    idle.run_that(fails=True)
    idle.run_that(fails=False, **{LANE_STATE_TAG: BUSY})
    idle.tick()
    assert receiver.titles == ["[events] runs of lane 0 fail"]
    assert "the broker is down" in receiver.received[0]["message"]
    idle.run_that(fails=False)
    idle.tick()
    assert receiver.titles[1:] == ["[events] recovered: runs of lane 0 fail"]


def test_a_failure_and_a_recovery_between_two_ticks_are_both_told(idle: Watch, receiver: AlertReceiver) -> None:
    idle.tick()
    idle.run_that(fails=True)
    idle.run_that(fails=False)
    idle.tick()
    assert [title.removeprefix("[events] ") for title in receiver.titles] == [
        "runs of lane 0 fail",
        "recovered: runs of lane 0 fail",
    ]


def test_after_a_day_without_a_look_only_how_things_stand_counts(idle: Watch, instance: dg.DagsterInstance) -> None:
    idle.run_that(fails=True)
    idle.run_that(fails=False)
    now = instance.get_run_records(limit=1)[0].create_timestamp.timestamp() + 60
    assert len(History(instance, idle.config, now).since(now - 100, {}).observed) == 3
    stale = History(instance, idle.config, now).since(now - STALE_SECONDS - 1, {})
    assert [seen.trouble for seen in stale.observed] == [None, None]


def test_nothing_is_told_again_by_a_new_code_location(idle: Watch, receiver: AlertReceiver) -> None:
    idle.run_that(fails=True)
    idle.tick()
    idle.run_that(fails=False)
    idle.run_that(fails=True)
    idle.tick()
    told = ["runs of lane 0 fail", "recovered: runs of lane 0 fail", "runs of lane 0 fail"]
    assert [title.removeprefix("[events] ") for title in receiver.titles] == told
    again = Watch(idle.config, idle.instance)
    for cursor in (None, "", "no json", Memory(read_through=time.time()).text()):
        again.tick(cursor)
    assert len(receiver.titles) == len(told)
    again.run_that(fails=False)
    again.tick()
    assert receiver.titles[len(told) :] == ["[events] recovered: runs of lane 0 fail"]


def test_a_lane_without_runs_is_stale_until_one_ends(idle: Watch, receiver: AlertReceiver) -> None:
    names = Names.of(idle.config)
    state = idle.turned(names.sensor, InstigatorType.SENSOR, InstigatorStatus.DECLARED_IN_CODE)
    idle.ticked(state, TickStatus.SKIPPED, skip_reason="no answer from Kafka")
    idle.run_that(fails=False)
    idle.tick()
    assert receiver.titles == []
    alerts = idle.config.alerts
    idle.config = idle.config.model_copy(update={"alerts": alerts.model_copy(update={"stale_lane_seconds": 1e-6})})
    idle.turned(names.sensor, InstigatorType.SENSOR, InstigatorStatus.STOPPED)
    idle.tick()
    assert receiver.titles == [], "whoever turned the sensor off knows"
    idle.turned(names.sensor, InstigatorType.SENSOR, InstigatorStatus.RUNNING)
    idle.tick()
    idle.tick()
    assert receiver.titles == ["[events] lane 0 is stale"]
    assert "no answer from Kafka" in receiver.received[0]["message"]

    @dg.op
    def drains() -> None:
        idle.tick()
        assert receiver.titles[1:] == ["[events] recovered: lane 0 is stale"], "this run is at work"

    job = dg.GraphDefinition("drained", node_defs=[drains]).to_job()
    assert job.execute_in_process(instance=idle.instance, tags=names.run_tags(0)).success
    waiting = idle.instance.create_run_for_job(job, tags=names.run_tags(0))
    idle.tick()
    assert receiver.titles[2:] == ["[events] lane 0 is stale"]
    assert f"run {waiting.run_id[:8]} is not_started" in receiver.received[-1]["message"]


def test_ticks_that_fail_are_told_of_a_sensor_after_three_of_a_schedule_at_once(
    idle: Watch, receiver: AlertReceiver
) -> None:
    names = Names.of(idle.config)
    sensor = idle.turned(names.sensor, InstigatorType.SENSOR, InstigatorStatus.DECLARED_IN_CODE)
    schedule = idle.turned(names.maintenance_schedule, InstigatorType.SCHEDULE, InstigatorStatus.DECLARED_IN_CODE)
    idle.turned("sensor_of_others", InstigatorType.SENSOR, InstigatorStatus.RUNNING)
    failed = {"error": SerializableErrorInfo("the settings cannot be read", [], None)}
    for _ in range(2):
        idle.ticked(sensor, TickStatus.FAILURE, **failed)
        idle.tick()
    assert receiver.titles == []
    idle.ticked(sensor, TickStatus.FAILURE, **failed)
    idle.ticked(schedule, TickStatus.FAILURE, **failed)
    idle.tick()
    idle.tick()
    assert sorted(receiver.titles) == [f"[events] {names.sensor} fails", f"[events] {names.maintenance_schedule} fails"]
    assert "the settings cannot be read" in receiver.received[0]["message"]
    idle.ticked(sensor, TickStatus.SKIPPED)
    idle.tick()
    assert receiver.titles[2:] == [f"[events] recovered: {names.sensor} fails"]


def test_without_targets_nothing_is_read_and_nothing_forgotten(idle: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ARROW_INGEST_ALERT_URLS", raising=False)
    result = build_alert_sensor(idle.config)(dg.build_sensor_context(instance=idle.instance))
    assert isinstance(result, dg.SkipReason)
    assert "ARROW_INGEST_ALERT_URLS is not set" in str(result.skip_message)


def test_the_sensor_runs_by_default_and_starts_no_runs(idle: Watch) -> None:
    sensor = pipeline_definitions(idle.config).get_repository_def().get_sensor_def("alerts_events_sensor")
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
    assert not sensor.targets


def test_dagster_keeps_one_row_per_run_check_and_partition_as_alerts_rely_on(watch: Watch) -> None:
    """Contract: internal API of Dagster 1.13 (`event_log_storage`)."""
    send(watch.config, *THREE_DAYS[:2])
    first = supervised_run(watch.config, watch.instance)
    second = supervised_run(watch.config, watch.instance)
    storage, table = watch.instance.event_log_storage, Names.of(watch.config).table
    rows = storage.get_asset_check_execution_history(dg.AssetCheckKey(table, Check.LAG), limit=10)
    assert [row.run_id for row in rows] == [second.run_id, first.run_id]
    older = storage.get_asset_check_execution_history(dg.AssetCheckKey(table, Check.LAG), limit=10, cursor=rows[0].id)
    assert [row.id for row in older] == [rows[1].id]
    evaluation, event = rows[0].evaluation, rows[0].event
    assert evaluation is not None
    assert event is not None
    assert (evaluation.passed, evaluation.severity) == (True, dg.AssetCheckSeverity.WARN)
    assert event.timestamp >= rows[1].create_timestamp
    keys = [dg.AssetCheckKey(table, check) for check in CHECKS]
    infos = storage.get_asset_check_partition_info(keys)
    assert {info.check_key.name for info in infos} == set(CHECKS)
    assert {info.latest_execution_status for info in infos} == {AssetCheckExecutionRecordStatus.SUCCEEDED}
    by_day = dg.AssetCheckKey(table, Check.ROWS_ACCOUNTED_FOR)
    assert {info.partition_key for info in infos if info.check_key == by_day} == set(THREE_DAYS[:2])
    (row,) = storage.get_asset_check_execution_history(
        by_day, limit=5, partition_filter=PartitionKeyFilter(key=THREE_DAYS[1])
    )
    assert row.partition == THREE_DAYS[1]
