"""One real tick: the sensor over the embedded broker and a real Dagster instance."""

from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

from arrow_ingest.components.lane_sensor import Memory, build_lane_sensor
from arrow_ingest.components.names import LANE_STATE_TAG, Names
from arrow_ingest.config import PipelineConfig
from arrow_ingest.demo.broker import EmbeddedBroker
from arrow_ingest.kafka.cluster import Cluster
from arrow_ingest.kafka.group_offsets import GroupOffsets
from arrow_ingest.stack.child import free_port

PARTITIONS = 4


@pytest.fixture
def config(broker: EmbeddedBroker, topic: Callable[..., str], tmp_path: Path) -> PipelineConfig:
    return two_lanes(broker.bootstrap_servers, topic(PARTITIONS), tmp_path)


def two_lanes(bootstrap_servers: str, topic_name: str, folder: Path) -> PipelineConfig:
    return PipelineConfig.model_validate(
        {
            "name": "events",
            "kafka": {"topic": topic_name, "bootstrap_servers": bootstrap_servers},
            "lake": {"catalog": f"sqlite:{folder}/lake.sqlite", "data_path": f"{folder}/data", "table": "events"},
            "lanes": 2,
        }
    )


def tick(config: PipelineConfig, instance: dg.DagsterInstance, cursor: str | None = None) -> dg.SensorResult:
    sensor = build_lane_sensor(config)
    result = sensor(dg.build_sensor_context(instance=instance, cursor=cursor))
    assert isinstance(result, dg.SensorResult)
    return result


def lanes_asked_for(result: dg.SensorResult) -> list[str]:
    return [request.tags["arrow_ingest/lane"] for request in result.run_requests or []]


def finish_run(instance: dg.DagsterInstance, config: PipelineConfig, lane: int, **tags: str) -> None:
    """A run of the lane in the history, which ended now."""
    run = instance.create_run_for_job(
        dg.GraphDefinition("nothing").to_job(), tags=Names.of(config).run_tags(lane) | tags
    )
    instance.report_run_canceled(run)


def test_the_first_tick_launches_every_lane_and_observes_the_topic(
    config: PipelineConfig, instance: dg.DagsterInstance
) -> None:
    result = tick(config, instance)
    assert lanes_asked_for(result) == ["0", "1"]
    assert all(request.run_key is None for request in result.run_requests or [])
    (observation,) = result.asset_events
    assert observation.asset_key == Names.of(config).topic
    assert observation.metadata["partitions"].value == PARTITIONS
    assert "dagster/data_version" not in observation.tags
    assert Memory.parse(result.cursor).seen.keys() == {0, 1}


def test_a_lane_in_flight_or_caught_up_gets_no_run(config: PipelineConfig, instance: dg.DagsterInstance) -> None:
    with GroupOffsets(config.kafka, config.group) as offsets:
        offsets.write(dict.fromkeys(range(PARTITIONS), 0))
    finish_run(instance, config, lane=0)
    instance.create_run_for_job(dg.GraphDefinition("nothing").to_job(), tags=Names.of(config).run_tags(1))
    result = tick(config, instance)
    assert lanes_asked_for(result) == []
    assert result.skip_reason is not None
    assert "lane 0: caught up" in str(result.skip_reason.skip_message)
    assert "lane 1: run" in str(result.skip_reason.skip_message)


def test_a_suspended_lane_is_skipped_and_the_other_goes_on(
    config: PipelineConfig, instance: dg.DagsterInstance
) -> None:
    finish_run(instance, config, 0, **{LANE_STATE_TAG: "log_truncated"})
    assert lanes_asked_for(tick(config, instance)) == ["1"]


def test_a_topic_made_again_is_noticed_by_its_id(config: PipelineConfig, instance: dg.DagsterInstance) -> None:
    finish_run(instance, config, 0)
    finish_run(instance, config, 1)
    with Cluster(config.kafka) as cluster, GroupOffsets(config.kafka, config.group) as offsets:
        offsets.write(dict.fromkeys(range(PARTITIONS), 0))
        first = tick(config, instance)
        assert lanes_asked_for(first) == []
        cluster.delete_topic()
        cluster.create_topic(PARTITIONS)
    assert lanes_asked_for(tick(config, instance, first.cursor)) == ["0", "1"]


def test_a_quiet_topic_is_not_observed_again_on_the_next_tick(
    config: PipelineConfig, instance: dg.DagsterInstance
) -> None:
    first = tick(config, instance)
    assert tick(config, instance, first.cursor).asset_events == []


def test_a_broker_that_is_down_is_a_reason_to_skip_and_forgets_nothing(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("arrow_ingest.components.lane_sensor.BROKER_SECONDS", 0.5)
    config = two_lanes(f"127.0.0.1:{free_port()}", "gone", tmp_path)
    cursor = Memory({}, {0: 5}, 1.0).text()
    result = tick(config, instance, cursor)
    assert lanes_asked_for(result) == []
    assert "no answer from Kafka" in str(result.skip_reason)
    assert result.cursor == cursor


@pytest.mark.parametrize("cursor", [None, "", "not json", "{}", "[]", '{"seen": 1, "observed": {}, "observed_at": 0}'])
def test_a_cursor_of_other_code_is_forgotten(cursor: str | None) -> None:
    assert Memory.parse(cursor) == Memory({}, {}, 0.0)
