"""A cron trigger: the schedule's ticks over a real run history, the sensor beside it, and runs of one micro-batch."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest
from confluent_kafka import Producer
from dagster import DagsterInstance
from dagster._core.definitions.schedule_definition import ScheduleExecutionData

from arrow_ingest.components.drain_schedule import build_drain_schedule
from arrow_ingest.components.lane_sensor import build_lane_sensor
from arrow_ingest.components.lane_supervision import PROBE_SUSPENDED_EVERY, LaneRuns, Launch, Skip, decide_on_schedule
from arrow_ingest.components.ledger_view import read_view
from arrow_ingest.components.names import LANE_STATE_TAG, Names
from arrow_ingest.components.pipeline_definitions import pipeline_definitions
from arrow_ingest.config import PipelineConfig
from arrow_ingest.demo.broker import EmbeddedBroker
from arrow_ingest.errors import ConfigError
from arrow_ingest_tests.arrow_payloads import stream_of
from arrow_ingest_tests.dagster_runs import supervised_run

NOW = datetime(2026, 11, 4, 12, tzinfo=UTC)


@pytest.fixture
def config(broker: EmbeddedBroker, topic: Callable[..., str], tmp_path: Path) -> PipelineConfig:
    return scheduled(tmp_path, broker.bootstrap_servers, topic(2))


def scheduled(folder: Path, bootstrap_servers: str, topic: str, **settings: object) -> PipelineConfig:
    return PipelineConfig.model_validate(
        {
            "name": "events",
            "kafka": {"topic": topic, "bootstrap_servers": bootstrap_servers},
            "lake": {"catalog": f"sqlite:{folder}/lake.sqlite", "data_path": f"{folder}/data", "table": "events"},
            "run": {"trigger": "*/5 * * * *", "until": "micro_batch"},
            "flush": {"max_bytes": 1},
            "lanes": 2,
        }
        | settings
    )


def tick(config: PipelineConfig, instance: DagsterInstance) -> ScheduleExecutionData:
    context = dg.build_schedule_context(instance=instance, scheduled_execution_time=NOW)
    return build_drain_schedule(config).evaluate_tick(context)


def unfinished_run(config: PipelineConfig, instance: DagsterInstance, lane: int, **tags: str) -> dg.DagsterRun:
    nothing = dg.GraphDefinition("nothing").to_job()
    return instance.create_run_for_job(nothing, tags=Names.of(config).run_tags(lane) | tags)


def test_a_tick_launches_every_lane_as_the_sensor_would(config: PipelineConfig, instance: DagsterInstance) -> None:
    schedule = pipeline_definitions(config).get_repository_def().get_schedule_def("drain_events_schedule")
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("*/5 * * * *", "UTC")
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING
    assert schedule.job_name == Names.of(config).job
    asked = tick(config, instance).run_requests
    assert [request.run_key for request in asked] == ["lane-0", "lane-1"]
    for lane, request in enumerate(asked):
        assert Names.of(config).run_tags(lane).items() <= request.tags.items()


def test_a_lane_in_flight_and_a_suspended_lane_are_skipped_and_said(
    config: PipelineConfig, instance: DagsterInstance
) -> None:
    run = unfinished_run(config, instance, 0)
    assert [request.tags["arrow_ingest/lane"] for request in tick(config, instance).run_requests] == ["1"]
    instance.report_run_canceled(unfinished_run(config, instance, 1, **{LANE_STATE_TAG: "log_truncated"}))
    skipped = tick(config, instance)
    assert skipped.run_requests == []
    assert f"lane 0: run {run.run_id[:8]} is in flight" in str(skipped.skip_message)
    assert "lane 1: suspended (log_truncated)" in str(skipped.skip_message)


def test_a_suspended_lane_is_probed_since_only_a_run_can_see_that_it_was_resumed() -> None:
    suspended = LaneRuns(ended_at=NOW - PROBE_SUSPENDED_EVERY, lane_state="log_truncated")
    assert isinstance(decide_on_schedule(NOW, suspended), Launch)
    assert isinstance(decide_on_schedule(NOW - timedelta(seconds=1), suspended), Skip)


def test_under_a_cron_trigger_the_sensor_reports_lag_and_launches_nothing(
    config: PipelineConfig, instance: DagsterInstance
) -> None:
    result = build_lane_sensor(config)(dg.build_sensor_context(instance=instance))
    assert isinstance(result, dg.SensorResult)
    assert not result.run_requests
    assert [event.asset_key for event in result.asset_events] == [Names.of(config).topic]
    assert "by the schedule, */5 * * * *" in str(result.skip_reason)


def test_one_run_is_one_micro_batch_is_one_snapshot(config: PipelineConfig, instance: DagsterInstance) -> None:
    payload = stream_of(pa.record_batch({"event": ["$pageview"]})).to_pybytes()
    two_messages = config.flush.model_copy(update={"max_bytes": len(payload) + 1})
    one_lane = config.model_copy(update={"lanes": 1, "flush": two_messages})
    # Six at once, so that a poll hands over more than the micro-batch takes, and one whose *first* offset + 1 is the
    # end of the log as the embedded broker sees it.
    producer = Producer({"bootstrap.servers": config.kafka.bootstrap_servers})
    for messages in (6, 1):
        for _ in range(messages):
            producer.produce(config.kafka.topic, payload, partition=0)
        assert producer.flush(10) == 0
    for runs in (1, 2):
        assert supervised_run(one_lane, instance).success
        commits = read_view(one_lane).commits
        assert [commit.tally.messages for commit in commits] == [2] * runs
    assert len({commit.snapshot_id for commit in commits}) == 2


@pytest.mark.parametrize("trigger", ["hourly", "* * * *", "0 0 * * * *", "", "* * * * ; "])
def test_a_trigger_that_is_no_cron_expression_is_refused_with_the_settings(trigger: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="neither sensor nor a cron expression"):
        scheduled(tmp_path, "127.0.0.1:1", "t", run={"trigger": trigger})


def test_a_cron_expression_of_impossible_numbers_is_refused_when_dagster_loads(tmp_path: Path) -> None:
    config = scheduled(tmp_path, "127.0.0.1:1", "t", run={"trigger": "99 * * * *"})
    with pytest.raises(ConfigError, match=r"run\.trigger: events: Dagster does not take '99 \* \* \* \*'"):
        pipeline_definitions(config)
