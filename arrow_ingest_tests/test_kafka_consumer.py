"""The consumer over real sockets: what arrives, where it lies in memory, and what ends it."""

import gc
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pyarrow as pa
import pytest

from arrow_ingest.config import KafkaConfig
from arrow_ingest.demo.broker import EmbeddedBroker
from arrow_ingest.errors import (
    BrokerUnavailable,
    ConfigError,
    ConsumerStalled,
    LaneSuspended,
    SuspendReason,
    TopicMissing,
)
from arrow_ingest.kafka.librdkafka import Code
from arrow_ingest.kafka.message import EndOfPartition, Message
from arrow_ingest.values import Position
from arrow_ingest_tests.kafka_records import (
    MIB,
    kafka_config,
    librdkafka_threads,
    poll_until_error,
    read,
    read_to_end,
    reader,
    send,
    wait_for,
)
from arrow_ingest_tests.mock_cluster import FETCH, MockCluster, record_batch


@pytest.fixture
def kafka(broker: EmbeddedBroker, topic: Callable[..., str]) -> KafkaConfig:
    return kafka_config(broker.bootstrap_servers, topic(partitions=2))


@pytest.fixture
def mock() -> Iterator[MockCluster]:
    with MockCluster() as cluster:
        cluster.create_topic("t")
        yield cluster


def payloads(messages: list[Message]) -> list[bytes | None]:
    return [None if message.payload is None else message.payload.to_pybytes() for message in messages]


def test_records_arrive_as_they_were_sent(kafka: KafkaConfig) -> None:
    send(kafka, b"one", key=b"k", headers=[("a", b"1"), ("b", None), ("a", b"")], timestamp=1_700_000_000_123)
    send(kafka, None, b"")
    with reader(kafka, {0: 0, 1: 0}) as consumer:
        messages, ends = read_to_end(consumer, partitions=2)
    assert payloads(messages) == [b"one", None, b""]
    assert [(message.partition, message.offset) for message in messages] == [(0, 0), (0, 1), (0, 2)]
    assert messages[0].key() == b"k"
    assert messages[0].headers() == (("a", b"1"), ("b", None), ("a", b""))
    assert messages[0].timestamp_ms == 1_700_000_000_123
    assert (messages[1].key(), messages[1].headers()) == (None, ())
    assert ends == {0: 3, 1: 0}


def test_a_message_of_16_mib_passes(kafka: KafkaConfig) -> None:
    value = bytes(range(256)) * (16 * MIB // 256)
    send(kafka, value)
    with reader(kafka, {0: 0}) as consumer:
        messages, _ = read_to_end(consumer)
    assert payloads(messages) == [value]


def test_a_message_over_the_limit_arrives_so_that_it_can_become_a_dead_letter(kafka: KafkaConfig) -> None:
    send(kafka, bytes(20 * MIB))
    with reader(kafka, {0: 0}, max_message_bytes=5 * MIB) as consumer:
        messages, _ = read_to_end(consumer)
    assert messages[0].payload is not None
    assert messages[0].payload.size == 20 * MIB


@pytest.mark.parametrize("position", [Position(3), Position(3, leader_epoch=0)])
def test_reading_starts_where_the_position_says(kafka: KafkaConfig, position: Position) -> None:
    send(kafka, *(b"%d" % number for number in range(6)))
    with reader(kafka, {0: position}) as consumer:
        messages, ends = read_to_end(consumer)
    assert payloads(messages) == [b"3", b"4", b"5"]
    assert ends == {0: 6}


def test_the_end_follows_what_is_sent_later(kafka: KafkaConfig) -> None:
    with reader(kafka, {0: 0}) as consumer:
        assert read_to_end(consumer) == ([], {0: 0})
        send(kafka, b"late")
        messages, ends = read_to_end(consumer)
    assert (payloads(messages), ends) == ([b"late"], {0: 1})


def test_an_open_transaction_is_not_read_and_its_marker_counts_at_the_end(kafka: KafkaConfig) -> None:
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "transactional.id": kafka.topic, "log_level": 0})
    producer.init_transactions(10)
    producer.begin_transaction()
    producer.produce(kafka.topic, b"pending", partition=0)
    producer.flush(10)
    with reader(kafka, {0: 0}) as consumer:
        assert read_to_end(consumer) == ([], {0: 0})
        producer.commit_transaction(10)
        messages, ends = read_to_end(consumer)
    assert [message.offset for message in messages] == [0]
    assert ends == {0: 2}


def test_columns_of_a_batch_lie_in_the_receive_buffer(kafka: KafkaConfig) -> None:
    batch = pa.record_batch({"text": ["zero", "copy"] * 1000})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    send(kafka, sink.getvalue().to_pybytes())
    with reader(kafka, {0: 0}) as consumer:
        messages, _ = read_to_end(consumer)
        payload = messages[0].payload
        assert payload is not None
        allocated = pa.total_allocated_bytes()
        read_back = pa.ipc.open_stream(payload).read_all()
        assert pa.total_allocated_bytes() == allocated
    (chunk,) = read_back.column("text").chunks
    for buffer in chunk.buffers():
        assert buffer is None or payload.address <= buffer.address < payload.address + payload.size
    assert read_back.to_batches()[0].equals(batch)


def test_a_table_outlives_the_consumer_and_its_end_ends_librdkafka(kafka: KafkaConfig) -> None:
    send(kafka, b"first", b"second")
    before = librdkafka_threads()
    consumer = reader(kafka, {0: 0})
    messages, _ = read_to_end(consumer)
    kept = messages[1].payload
    assert kept is not None
    part = kept.slice(3)
    started = time.monotonic()
    consumer.close()
    assert time.monotonic() - started < 5
    del messages, kept, consumer
    gc.collect()
    assert part.to_pybytes() == b"ond"
    assert librdkafka_threads() - before
    del part
    wait_for(lambda: librdkafka_threads() <= before)


def test_a_closed_consumer_without_messages_ends_librdkafka(kafka: KafkaConfig) -> None:
    before = librdkafka_threads()
    consumer = reader(kafka, {0: 0})
    consumer.poll()
    consumer.close()
    consumer.close()
    wait_for(lambda: librdkafka_threads() <= before)
    with pytest.raises(ValueError, match="closed"):
        consumer.poll()


@pytest.mark.parametrize("closes", [True, False])
def test_the_interpreter_ends_with_messages_alive(kafka: KafkaConfig, closes: bool) -> None:
    send(kafka, b"x" * 1000)
    script = (
        "from arrow_ingest_tests.kafka_records import *\n"
        f"consumer = reader(kafka_config({kafka.bootstrap_servers!r}, {kafka.topic!r}), {{0: 0}})\n"
        "messages, _ = read_to_end(consumer)\n"
        "payload = messages[0].payload\n"
        f"{'consumer.close()' if closes else ''}\n"
        "print(payload.size)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "1000\n", "")


def test_a_paused_consumer_hands_nothing_over_and_loses_nothing(kafka: KafkaConfig) -> None:
    send(kafka, *(b"%d" % number for number in range(10)))
    with reader(kafka, {0: 0}) as consumer:
        first = read(consumer, until=bool)
        consumer.pause()
        assert [consumer.poll(timeout_seconds=0.05) for _ in range(3)] == [[], [], []]
        consumer.resume()
        rest = read(consumer, until=lambda items: any(isinstance(item, EndOfPartition) for item in first + items))
    offsets = [item.offset for item in first + rest if isinstance(item, Message)]
    assert offsets == list(range(10))


def test_no_more_than_asked_for_is_handed_over(kafka: KafkaConfig) -> None:
    send(kafka, *[b"x"] * 100)
    sizes: list[int] = []
    with reader(kafka, {0: 0}) as consumer:

        def is_read() -> bool:
            sizes.append(len(consumer.poll(max_messages=2, timeout_seconds=0.05)))
            return sum(sizes) >= 100

        wait_for(is_read, 60)
    assert max(sizes) == 2


def test_a_message_too_large_for_the_connection_stalls_and_is_named(kafka: KafkaConfig) -> None:
    send(kafka, b"small")
    narrow = kafka_config(
        kafka.bootstrap_servers,
        kafka.topic,
        {"receive.message.max.bytes": "10000", "fetch.max.bytes": "1000", "message.max.bytes": "1000"},
    )
    with reader(narrow, {0: 0, 1: 0}, stall_seconds=1.0) as consumer:
        read_to_end(consumer)
        send(kafka, bytes(100_000), b"never seen")
        with pytest.raises(ConsumerStalled) as stalled:
            poll_until_error(consumer)
        assert (stalled.value.partition, stalled.value.offset) == (0, 1)
        with pytest.raises(ConsumerStalled):
            consumer.poll()


def test_quiet_partitions_and_a_paused_reader_are_not_stalled(kafka: KafkaConfig) -> None:
    with reader(kafka, {0: 0, 1: 0}, stall_seconds=0.2) as consumer:
        read_to_end(consumer, partitions=2)
        quiet_until = time.monotonic() + 1.0
        while time.monotonic() < quiet_until:
            assert consumer.poll() == []
        consumer.pause()
        send(kafka, b"waits")
        paused_until = time.monotonic() + 1.0
        while time.monotonic() < paused_until:
            assert consumer.poll() == []
        consumer.resume()
        messages, _ = read_to_end(consumer)
    assert payloads(messages) == [b"waits"]


def test_no_broker_at_the_start_is_an_error_within_the_deadline() -> None:
    consumer = reader(kafka_config("127.0.0.1:1", "t"), {0: 0}, unavailable_seconds=0.5)
    with consumer, pytest.raises(BrokerUnavailable, match=r"127\.0\.0\.1:1 .*Connection refused"):
        poll_until_error(consumer)


def test_a_broker_killed_in_the_middle_is_an_error_and_leaves_the_messages() -> None:
    with EmbeddedBroker() as own:
        kafka = kafka_config(own.bootstrap_servers, "t")
        send(kafka, b"kept")
        with reader(kafka, {0: 0}, unavailable_seconds=0.5) as consumer:
            messages, _ = read_to_end(consumer)
            own.stop()
            with pytest.raises(BrokerUnavailable):
                poll_until_error(consumer)
        assert payloads(messages) == [b"kept"]


def test_a_broker_that_comes_back_in_time_goes_unnoticed(mock: MockCluster) -> None:
    kafka = kafka_config(mock.bootstrap_servers, "t")
    send(kafka, b"before")
    with reader(kafka, {0: 0}) as consumer:
        read_to_end(consumer)
        mock.set_down()
        until = time.monotonic() + 0.5
        while time.monotonic() < until:
            assert consumer.poll() == []
        mock.set_up()
        send(kafka, b"after")
        messages, ends = read_to_end(consumer)
    assert (payloads(messages), ends) == ([b"after"], {0: 2})


def test_a_storm_of_lost_leaders_is_waited_out(mock: MockCluster) -> None:
    kafka = kafka_config(mock.bootstrap_servers, "t")
    send(kafka, b"0", b"1")
    mock.answer_with(FETCH, *[Code.NOT_LEADER_FOR_PARTITION, Code.LEADER_NOT_AVAILABLE] * 3)
    with reader(kafka, {0: 0}) as consumer:
        messages, ends = read_to_end(consumer)
    assert (payloads(messages), ends) == ([b"0", b"1"], {0: 2})


def test_a_slow_broker_is_waited_for(mock: MockCluster) -> None:
    kafka = kafka_config(mock.bootstrap_servers, "t")
    sent = [bytes([number]) * 100_000 for number in range(20)]
    send(kafka, *sent)
    mock.set_slow(100)
    with reader(kafka, {0: 0}) as consumer:
        messages, ends = read_to_end(consumer)
    assert (payloads(messages), ends) == (sent, {0: 20})


def test_a_position_beyond_the_end_suspends_as_truncated(mock: MockCluster) -> None:
    kafka = kafka_config(mock.bootstrap_servers, "t")
    send(kafka, b"0", b"1")
    with reader(kafka, {0: 7}) as consumer, pytest.raises(LaneSuspended) as suspended:
        poll_until_error(consumer)
    assert suspended.value.reason is SuspendReason.LOG_TRUNCATED
    assert (suspended.value.partition, suspended.value.expected, suspended.value.available) == (0, 7, (0, 2))


def test_a_position_that_retention_removed_suspends_as_out_of_range(mock: MockCluster) -> None:
    kafka = kafka_config(mock.bootstrap_servers, "t")
    send(kafka, *[bytes(900_000)] * 8)
    with reader(kafka, {0: 0}) as consumer, pytest.raises(LaneSuspended) as suspended:
        poll_until_error(consumer)
    assert suspended.value.reason is SuspendReason.OFFSET_OUT_OF_RANGE
    assert suspended.value.available is not None
    low, high = suspended.value.available
    assert (0 < low < high, high) == (True, 8)


def test_a_position_past_its_leader_epoch_suspends_as_truncated(mock: MockCluster) -> None:
    kafka = kafka_config(mock.bootstrap_servers, "t")
    send(kafka, b"0", b"1")
    with reader(kafka, {0: Position(5, leader_epoch=0)}) as consumer, pytest.raises(LaneSuspended) as suspended:
        poll_until_error(consumer)
    assert suspended.value.reason is SuspendReason.LOG_TRUNCATED


def test_a_record_with_a_wrong_checksum_suspends_after_what_came_before_it(mock: MockCluster) -> None:
    kafka = kafka_config(mock.bootstrap_servers, "t")
    send(kafka, b"good")
    mock.append_raw("t", record_batch(b"bad", crc=0xDEADBEEF))
    send(kafka, b"unreachable")
    received: list[Message | EndOfPartition] = []
    with reader(kafka, {0: 0}) as consumer, pytest.raises(LaneSuspended) as suspended:
        read(consumer, until=lambda items: received.extend(items[len(received) :]) or False)
    assert payloads([item for item in received if isinstance(item, Message)]) == [b"good"]
    assert suspended.value.reason is SuspendReason.CORRUPT_RECORD
    assert (suspended.value.partition, suspended.value.expected) == (0, 1)


def test_a_deleted_topic_is_missing(mock: MockCluster) -> None:
    quick = {"topic.metadata.propagation.max.ms": "100", "topic.metadata.refresh.interval.ms": "200"}
    kafka = kafka_config(mock.bootstrap_servers, "t", quick)
    with reader(kafka, {0: 0}) as consumer:
        read_to_end(consumer)
        mock.set_topic_error("t", Code.UNKNOWN_TOPIC_OR_PART)
        with pytest.raises(TopicMissing):
            poll_until_error(consumer)


def test_a_topic_that_may_not_be_read_names_the_right(mock: MockCluster) -> None:
    kafka = kafka_config(mock.bootstrap_servers, "t", {"topic.metadata.refresh.interval.ms": "200"})
    with reader(kafka, {0: 0}) as consumer:
        read_to_end(consumer)
        mock.set_topic_error("t", Code.TOPIC_AUTHORIZATION_FAILED)
        with pytest.raises(ConfigError, match="may not Read"):
            poll_until_error(consumer)


def test_a_refused_login_names_the_settings_and_hides_the_password(kafka: KafkaConfig) -> None:
    login = {
        "security.protocol": "sasl_plaintext",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "ann",
        "sasl.password": "hunter2",
    }
    refused = kafka_config(kafka.bootstrap_servers, kafka.topic, login)
    with reader(refused, {0: 0}, unavailable_seconds=0.5) as consumer:
        assert "hunter2" not in repr(consumer)
        assert "'sasl.username': 'ann'" in repr(consumer)
        with pytest.raises(ConfigError, match=r"sasl\.password") as error:
            poll_until_error(consumer)
    assert "hunter2" not in str(error.value)
    assert "hunter2" not in repr(refused)


@pytest.mark.parametrize(
    ("properties", "key"),
    [
        ({"no.such.property": "1"}, "kafka.properties.no.such.property"),
        ({"fetch.wait.max.ms": "soon"}, "kafka.properties.fetch.wait.max.ms"),
        ({"security.protocol": "ssl", "ssl.ca.location": "/nowhere"}, "kafka.properties"),
    ],
)
def test_a_property_that_librdkafka_refuses_is_a_config_error(properties: dict[str, str], key: str) -> None:
    with pytest.raises(ConfigError) as error:
        reader(kafka_config("127.0.0.1:1", "t", properties), {0: 0})
    assert error.value.key == key
