"""`ArrowProducer` and the produce loop against a real broker: what is acknowledged is there, what fails is raised."""

import time
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
from confluent_kafka import Consumer, TopicPartition

import arrow_ingest
from arrow_ingest.demo.broker import EmbeddedBroker
from arrow_ingest.errors import DeliveryFailed, RowTooLarge
from arrow_ingest.producer.arrow import Acknowledged, ArrowProducer
from arrow_ingest.producer.events import EventGenerator
from arrow_ingest.producer.produce import produce_events
from arrow_ingest.stack.child import free_port
from arrow_ingest_tests.mock_cluster import INIT_PRODUCER_ID, MockCluster
from arrow_ingest_tests.test_producer_events import NOW

Topic = Callable[..., str]
CLUSTER_AUTHORIZATION_FAILED = 31


def producer_for(broker: EmbeddedBroker, topic: str, **arguments: Any) -> ArrowProducer:
    return ArrowProducer(topic, {"bootstrap.servers": broker.bootstrap_servers}, **arguments)


def received(broker: EmbeddedBroker, topic: str, count: int, partitions: int = 1) -> list[Any]:
    """The first ``count`` messages of a topic, by partition and offset."""
    consumer = Consumer({"bootstrap.servers": broker.bootstrap_servers, "group.id": "reader"})
    try:
        consumer.assign([TopicPartition(topic, partition, 0) for partition in range(partitions)])
        messages: list[Any] = []
        deadline = time.monotonic() + 20
        while len(messages) < count and time.monotonic() < deadline:
            messages += [message for message in consumer.consume(count - len(messages), 0.2) if not message.error()]
    finally:
        consumer.close()
    return sorted(messages, key=lambda message: (message.partition(), message.offset()))


def table_of(message: Any) -> pa.Table:
    return pa.ipc.open_stream(message.value()).read_all()


@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
def test_a_batch_arrives_as_one_stream(broker: EmbeddedBroker, topic: Topic, compression):
    name = topic(partitions=2)
    batch = pa.RecordBatch.from_pydict({"n": [1, 2, 3], "s": ["a", None, "c"]})

    with producer_for(broker, name, compression=compression) as producer:
        assert producer.send(batch, key="k", headers={"h": b"v"}, partition=1) == 1

    (message,) = received(broker, name, 1, partitions=2)
    assert (message.partition(), message.key(), message.headers()) == (1, b"k", [("h", b"v")])
    assert table_of(message).to_batches() == [batch]
    assert producer.acknowledged == Acknowledged(messages=1, rows=3, bytes=len(message.value()))


def test_a_batch_that_is_too_large_is_cut_by_rows(broker: EmbeddedBroker, topic: Topic):
    name = topic()
    batch = EventGenerator(seed=1, now=NOW).batch(0, 1_000)

    with producer_for(broker, name, max_message_bytes=300_000) as producer:
        sent = producer.send(batch)

    messages = received(broker, name, sent)
    assert sent > 3
    assert all(len(message.value()) <= 300_000 for message in messages)
    assert pa.concat_tables(map(table_of, messages)).combine_chunks().to_batches() == [batch]
    assert producer.acknowledged.rows == 1_000


def test_16_mib_pass(broker: EmbeddedBroker, topic: Topic):
    name = topic()

    with producer_for(broker, name) as producer:
        producer.send_payload(b"x" * 16 * 1024 * 1024)

    assert producer.acknowledged.bytes == 16 * 1024 * 1024


def test_nothing_is_sent_when_one_row_is_too_large(broker: EmbeddedBroker, topic: Topic):
    with producer_for(broker, topic(), max_message_bytes=10_000) as producer:
        with pytest.raises(RowTooLarge):
            producer.send(pa.table({"text": ["a", "b" * 50_000]}))
        producer.flush()

        assert producer.acknowledged == Acknowledged()


def test_a_message_without_a_value_can_be_sent(broker: EmbeddedBroker, topic: Topic):
    name = topic()

    with producer_for(broker, name) as producer:
        producer.send_payload(None, key=b"k")

    (message,) = received(broker, name, 1)
    assert message.value() is None


def test_a_full_queue_slows_the_sender_down_and_loses_nothing(broker: EmbeddedBroker, topic: Topic):
    name = topic()
    config = {"bootstrap.servers": broker.bootstrap_servers, "queue.buffering.max.messages": 2}

    with ArrowProducer(name, config) as producer:
        for number in range(50):
            producer.send(pa.table({"n": [number]}))

    assert producer.acknowledged.messages == 50
    assert [table_of(message)["n"][0].as_py() for message in received(broker, name, 50)] == list(range(50))


def test_an_unknown_topic_is_an_error_and_no_new_topic(broker: EmbeddedBroker):
    config = {"bootstrap.servers": broker.bootstrap_servers, "topic.metadata.propagation.max.ms": 100}
    producer = ArrowProducer("no-such-topic", config)

    producer.send(pa.table({"n": [1]}))
    with pytest.raises(DeliveryFailed, match="create the topic first") as caught:
        producer.flush()

    assert caught.value.topic == "no-such-topic"


def test_a_broker_that_is_gone_is_an_error_when_the_block_ends():
    config = {"bootstrap.servers": f"127.0.0.1:{free_port()}", "message.timeout.ms": 300, "log_level": 0}

    with pytest.raises(DeliveryFailed, match="does the broker run"), ArrowProducer("events", config) as producer:
        producer.send(pa.table({"n": [1]}))


def test_a_failed_delivery_is_raised_by_what_comes_next():
    config = {"bootstrap.servers": f"127.0.0.1:{free_port()}", "message.timeout.ms": 300, "log_level": 0}
    producer = ArrowProducer("events", config)

    producer.send(pa.table({"n": [1]}))
    with pytest.raises(DeliveryFailed):
        producer.flush()
    with pytest.raises(DeliveryFailed):
        producer.send(pa.table({"n": [2]}))


def test_a_message_over_librdkafkas_limit_is_an_error(broker: EmbeddedBroker, topic: Topic):
    config = {"bootstrap.servers": broker.bootstrap_servers, "message.max.bytes": 2_000}

    with ArrowProducer(topic(), config) as producer, pytest.raises(DeliveryFailed) as caught:
        producer.send(pa.table({"text": ["x" * 5_000]}))

    assert caught.value.code == "MSG_SIZE_TOO_LARGE"


def test_an_error_inside_the_block_is_not_hidden():
    config = {"bootstrap.servers": f"127.0.0.1:{free_port()}", "message.timeout.ms": 300, "log_level": 0}

    with pytest.raises(RuntimeError, match="the first error"), ArrowProducer("events", config) as producer:  # noqa: PT012
        producer.send(pa.table({"n": [1]}))
        raise RuntimeError("the first error")


def test_the_loop_sends_each_batch_once_and_counts_what_was_acknowledged(broker: EmbeddedBroker, topic: Topic):
    name = topic()
    generator = EventGenerator(seed=3, now=NOW)

    with producer_for(broker, name) as producer:
        counts = list(produce_events(producer, generator, batches=5, rows=20, batches_per_second=0, first=2))

    assert [table_of(message).to_batches()[0] for message in received(broker, name, 5)] == [
        generator.batch(index, 20) for index in range(2, 7)
    ]
    assert len(counts) == 6
    assert (counts[-1].messages, counts[-1].rows) == (5, 100)


def test_the_producer_is_public():
    assert arrow_ingest.ArrowProducer is ArrowProducer


def test_a_producer_that_may_not_write_at_all_is_told_so() -> None:
    with MockCluster() as cluster:
        cluster.create_topic("t")
        cluster.answer_with(INIT_PRODUCER_ID, *[CLUSTER_AUTHORIZATION_FAILED] * 10)
        refused = pytest.raises(DeliveryFailed, match=r"(?i)cluster authorization failed")
        with refused, ArrowProducer("t", {"bootstrap.servers": cluster.bootstrap_servers, "log_level": 0}) as producer:
            producer.send(pa.record_batch({"n": [1]}))
