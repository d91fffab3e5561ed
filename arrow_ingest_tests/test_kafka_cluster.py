"""What the cluster says of a topic, and how it fails."""

import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from confluent_kafka.admin import OffsetSpec

from arrow_ingest.config import KafkaConfig
from arrow_ingest.demo.broker import EmbeddedBroker
from arrow_ingest.errors import BrokerUnavailable, ConfigError, TopicMissing
from arrow_ingest.kafka.cluster import Cluster
from arrow_ingest.kafka.group_offsets import GroupOffsets
from arrow_ingest.kafka.librdkafka import Code
from arrow_ingest_tests.kafka_records import kafka_config, send, wait_for
from arrow_ingest_tests.mock_cluster import LIST_OFFSETS, OFFSET_COMMIT, OFFSET_FETCH, MockCluster


@pytest.fixture
def kafka(broker: EmbeddedBroker, topic: Callable[..., str]) -> KafkaConfig:
    return kafka_config(broker.bootstrap_servers, topic(partitions=3))


def test_the_state_has_the_id_and_both_ends_of_every_partition(kafka: KafkaConfig) -> None:
    send(kafka, b"0", b"1", partition=1)
    with Cluster(kafka) as cluster:
        state = cluster.topic_state()
        assert state.topic_id == cluster.topic_id()
    assert (state.topic, state.partitions) == (kafka.topic, (0, 1, 2))
    assert (state.low, state.high) == ({0: 0, 1: 0, 2: 0}, {0: 0, 1: 2, 2: 0})


def test_a_topic_made_again_has_another_id_and_a_deleted_one_is_missing(kafka: KafkaConfig) -> None:
    with Cluster(kafka) as cluster:
        first = cluster.topic_id()
        cluster.delete_topic()
        with pytest.raises(TopicMissing):
            cluster.topic_state()
        cluster.create_topic(3)
        assert cluster.topic_id() != first


def test_making_a_topic_twice_is_refused(kafka: KafkaConfig) -> None:
    with Cluster(kafka) as cluster, pytest.raises(ConfigError, match="already exists"):
        cluster.create_topic(3)


def test_offsets_of_a_time_are_the_first_records_not_before_it(kafka: KafkaConfig) -> None:
    send(kafka, b"0", b"1", partition=1)
    between = datetime.now(UTC) + timedelta(milliseconds=5)
    wait_for(lambda: datetime.now(UTC) > between + timedelta(milliseconds=5))
    send(kafka, b"2", partition=1)
    with Cluster(kafka) as cluster:
        assert cluster.offsets_at(between - timedelta(days=1)) == {0: 0, 1: 0, 2: 0}
        assert cluster.offsets_at(between) == {0: 0, 1: 2, 2: 0}


def test_mirrored_offsets_are_read_back_and_replaced(kafka: KafkaConfig) -> None:
    with GroupOffsets(kafka, f"group-{kafka.topic}") as offsets:
        assert offsets.read() == {}
        offsets.write({})
        assert offsets.read() == {}
        offsets.write({0: 5, 1: 7})
        offsets.write({1: 8})
        assert offsets.read() == {0: 5, 1: 8}


def test_no_broker_is_an_error_within_the_deadline() -> None:
    started = time.monotonic()
    nobody = kafka_config("127.0.0.1:1", "t")
    with Cluster(nobody, timeout_seconds=0.5) as cluster, GroupOffsets(nobody, "g", timeout_seconds=0.5) as offsets:
        for ask in (cluster.topic_state, cluster.topic_id, offsets.read):
            with pytest.raises(BrokerUnavailable, match="Connection refused"):
                ask()
    assert time.monotonic() - started < 10


def test_a_broker_that_is_stopped_meanwhile_is_an_error() -> None:
    with EmbeddedBroker() as own, Cluster(kafka_config(own.bootstrap_servers, "t"), timeout_seconds=1) as cluster:
        cluster.create_topic(1)
        assert cluster.topic_state().high == {0: 0}
        own.stop()
        with pytest.raises(BrokerUnavailable):
            cluster.topic_state()


def test_a_refused_login_names_the_settings(kafka: KafkaConfig) -> None:
    login = {
        "security.protocol": "sasl_plaintext",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "ann",
        "sasl.password": "hunter2",
    }
    refused = kafka_config(kafka.bootstrap_servers, kafka.topic, login)
    with Cluster(refused, timeout_seconds=1) as cluster, pytest.raises(ConfigError, match=r"sasl\.password") as error:
        cluster.topic_id()
    assert "hunter2" not in str(error.value)


def test_a_property_that_librdkafka_refuses_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match=r"no\.such"):
        Cluster(kafka_config("127.0.0.1:1", "t", {"no.such": "1"}))


@pytest.mark.parametrize(
    "code", [Code.COORDINATOR_LOAD_IN_PROGRESS, Code.COORDINATOR_NOT_AVAILABLE, Code.NOT_COORDINATOR]
)
def test_a_group_that_moves_to_another_broker_is_asked_for_again(code: Code) -> None:
    with MockCluster() as mock:
        mock.create_topic("t", 3)
        with GroupOffsets(kafka_config(mock.bootstrap_servers, "t"), "g") as offsets:
            mock.answer_with(OFFSET_COMMIT, code, code)
            offsets.write({0: 5})
            mock.answer_with(OFFSET_FETCH, code, code)
            assert offsets.read() == {0: 5}


def ends_of(cluster: Cluster, timeout_seconds: float) -> dict[int, int]:
    """Ends of partition 0. The mock cluster does not describe topics, so the question behind it is asked alone."""
    return cluster._offsets((0,), OffsetSpec.latest(), time.monotonic() + timeout_seconds)


@pytest.mark.parametrize("code", [Code.LEADER_NOT_AVAILABLE, Code.NOT_LEADER_FOR_PARTITION])
def test_a_partition_that_has_no_leader_yet_is_asked_for_again(code: Code) -> None:
    with MockCluster() as mock:
        mock.create_topic("t", 1)
        with Cluster(kafka_config(mock.bootstrap_servers, "t")) as cluster:
            mock.answer_with(LIST_OFFSETS, code, code)
            assert ends_of(cluster, timeout_seconds=10.0) == {0: 0}


def test_a_partition_that_stays_without_a_leader_is_an_error_that_passes() -> None:
    with MockCluster() as mock:
        mock.create_topic("t", 1)
        with Cluster(kafka_config(mock.bootstrap_servers, "t")) as cluster:
            mock.answer_with(LIST_OFFSETS, *[int(Code.NOT_LEADER_FOR_PARTITION)] * 100)
            with pytest.raises(BrokerUnavailable, match="leader"):
                ends_of(cluster, timeout_seconds=0.5)


def test_a_group_that_keeps_moving_is_an_error_that_passes() -> None:
    with MockCluster() as mock:
        mock.create_topic("t", 1)
        moving = [int(Code.NOT_COORDINATOR)] * 100
        mock.answer_with(OFFSET_FETCH, *moving)
        mock.answer_with(OFFSET_COMMIT, *moving)
        with GroupOffsets(kafka_config(mock.bootstrap_servers, "t"), "g", timeout_seconds=0.5) as offsets:
            with pytest.raises(BrokerUnavailable):
                offsets.read()
            with pytest.raises(BrokerUnavailable):
                offsets.write({0: 1})


def test_a_group_that_one_may_not_read_names_the_setting() -> None:
    with MockCluster() as mock:
        mock.create_topic("t", 1)
        mock.answer_with(OFFSET_FETCH, Code.GROUP_AUTHORIZATION_FAILED)
        kafka = kafka_config(mock.bootstrap_servers, "t")
        with GroupOffsets(kafka, "g") as offsets, pytest.raises(ConfigError, match="group"):
            offsets.read()


UNANSWERED = """
from arrow_ingest.errors import BrokerUnavailable
from arrow_ingest.kafka.group_offsets import GroupOffsets
from arrow_ingest_tests.kafka_records import kafka_config

with GroupOffsets(kafka_config("127.0.0.1:1", "t"), "g", timeout_seconds=0.5) as offsets:
    try:
        offsets.write({0: 1})
    except BrokerUnavailable:
        print("unavailable")
"""


def test_a_process_with_a_commit_that_no_broker_answers_ends_at_once() -> None:
    ended = subprocess.run([sys.executable, "-c", UNANSWERED], capture_output=True, text=True, timeout=30, check=True)
    assert ended.stdout == "unavailable\n"


def test_a_broker_that_dies_under_a_group_is_an_error_and_the_next_commit_finds_the_one_that_is_back() -> None:
    with EmbeddedBroker() as broker:
        kafka = kafka_config(broker.bootstrap_servers, "t")
        with Cluster(kafka) as cluster:
            cluster.create_topic(1)
        with GroupOffsets(kafka, "g", timeout_seconds=1) as offsets:
            offsets.write({0: 1})
            broker.stop()
            with pytest.raises(BrokerUnavailable):
                offsets.write({0: 2})
            with EmbeddedBroker(port=broker.port):
                with Cluster(kafka) as cluster:
                    cluster.create_topic(1)
                offsets.write({0: 3})
                assert offsets.read() == {0: 3}
