"""Every compression of Kafka's record batches, unpacked by librdkafka."""

import pytest

from arrow_ingest.config import PipelineConfig
from arrow_ingest.producer.arrow import ArrowProducer
from arrow_ingest.producer.events import EventGenerator
from arrow_ingest.stack.kafka import KafkaCluster
from arrow_ingest_tests.lake_contents import ROWS, assert_holds_exactly, assert_verified, drained
from arrow_ingest_tests.worlds import World

pytestmark = pytest.mark.stack

MESSAGES = 12
CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
"""Names and the numbers by which a record batch tells its codec."""


def codec_on_disk(kafka: KafkaCluster, config: PipelineConfig) -> int:
    """The codec of the first record batch of partition 0, as the broker keeps it: byte 22, lowest three bits."""
    [broker] = kafka.brokers.values()
    [segment] = (broker.data / f"{config.kafka.topic}-0").glob("*.log")
    return segment.read_bytes()[22] & 7


@pytest.mark.parametrize("codec", CODECS)
def test_record_batches_of_every_codec_arrive_whole(
    kafka: KafkaCluster, world: World, generator: EventGenerator, codec: str
) -> None:
    config = world.pipeline()
    together = {"compression.type": codec, "batch.num.messages": 100, "linger.ms": 200}
    with ArrowProducer(config.kafka.topic, {"bootstrap.servers": world.bootstrap_servers, **together}) as producer:
        for index in range(MESSAGES):
            producer.send(generator.batch(index, ROWS), partition=index % 4)
    assert codec_on_disk(kafka, config) == CODECS[codec]
    drained(config)
    assert_holds_exactly(config, generator, MESSAGES)
    assert_verified(config)
