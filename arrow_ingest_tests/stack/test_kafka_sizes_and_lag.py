"""Messages of 16 MiB, and the lag that Kafka's own tools show."""

import pyarrow as pa
import pytest

from arrow_ingest.config import PipelineConfig
from arrow_ingest.pipeline.standing import standing_of
from arrow_ingest.producer.arrow import MIB, ArrowProducer
from arrow_ingest.producer.events import EventGenerator
from arrow_ingest.stack.kafka import KafkaCluster
from arrow_ingest_tests.lake_contents import assert_verified, drained, produce, query
from arrow_ingest_tests.worlds import World

pytestmark = pytest.mark.stack


def payload_of(size: int) -> bytes:
    """An IPC stream of one row of exactly this many bytes."""

    def stream(fill: int) -> bytes:
        batch = pa.record_batch({"timestamp": ["2026-11-04T02:00:00Z"], "blob": [b"x" * fill]})
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema) as writer:
            writer.write_batch(batch)
        return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]

    return stream(size - len(stream(8)) + 8)


def test_messages_of_16_mib_become_rows_and_one_byte_more_a_dead_letter(world: World) -> None:
    config = world.pipeline(partitions=1)
    largest = payload_of(16 * MIB)
    assert len(largest) == 16 * MIB
    with ArrowProducer(
        config.kafka.topic, {"bootstrap.servers": world.bootstrap_servers, "message.max.bytes": 17 * MIB}
    ) as producer:
        for payload in (largest, largest + b"\0", largest):
            producer.send_payload(payload, partition=0)
    drained(config)
    found = query(config, "SELECT _kafka_offset AS o, octet_length(blob) AS n FROM lake.main.events ORDER BY 1")
    assert [row["o"] for row in found.to_pylist()] == [0, 2]
    assert all(16 * MIB - 4096 < row["n"] < 16 * MIB for row in found.to_pylist())
    letters = query(config, "SELECT reason, octet_length(payload) AS n FROM lake.main.events__dead_letters").to_pylist()
    assert letters == [{"reason": "too_large", "n": 16 * MIB + 1}]
    assert_verified(config)


def shown_by_kafka(kafka: KafkaCluster, config: PipelineConfig) -> dict[int, tuple[int, int, int]]:
    """Per partition what ``kafka-consumer-groups --describe`` prints: current offset, end and lag."""
    lines = kafka.tool("kafka-consumer-groups", "--describe", "--group", config.group).splitlines()
    [header] = [line.split() for line in lines if "CURRENT-OFFSET" in line]
    rows = [dict(zip(header, line.split(), strict=False)) for line in lines if config.kafka.topic in line.split()]
    return {
        int(row["PARTITION"]): (int(row["CURRENT-OFFSET"]), int(row["LOG-END-OFFSET"]), int(row["LAG"])) for row in rows
    }


def shown_by_us(config: PipelineConfig) -> dict[int, tuple[int | None, int | None, int | None]]:
    return {entry.partition: (entry.next, entry.high, entry.lag) for entry in standing_of(config).partitions}


def test_lag_is_what_kafka_consumer_groups_prints(kafka: KafkaCluster, world: World, generator: EventGenerator) -> None:
    config = world.pipeline(run={"until": "micro_batch"})
    produce(config, generator, range(30))
    drained(config)
    ours = shown_by_us(config)
    assert ours == shown_by_kafka(kafka, config)
    assert 0 < sum(lag or 0 for _, _, lag in ours.values()) < 30
    while standing_of(config).lag():
        drained(config)
    assert shown_by_kafka(kafka, config) == shown_by_us(config)
    assert {lag for _, _, lag in shown_by_us(config).values()} == {0}
