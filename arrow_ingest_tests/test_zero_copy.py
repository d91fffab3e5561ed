"""The bytes that librdkafka received are the bytes that the Parquet writer reads."""

import gc
from datetime import UTC, datetime

import pyarrow as pa

from arrow_ingest.kafka.consumer import Consumer
from arrow_ingest.kafka.message import Message
from arrow_ingest.lake.conform import Stamp
from arrow_ingest.lake.schema import plan_for
from arrow_ingest.pipeline.rows import MessageRows, rows_of
from arrow_ingest.producer.events import EventGenerator
from arrow_ingest.values import CopyCause, Position
from arrow_ingest_tests.kafka_records import librdkafka_threads, wait_for
from arrow_ingest_tests.lake_contents import drained, produce
from arrow_ingest_tests.worlds import World

UNTOUCHED = ["uuid", "event", "distinct_id", "team_id", "project_id", "properties", "elements_chain"]
"""The default pipeline casts `timestamp`; all other columns are to stay where they are."""

GENERATOR = EventGenerator(seed=3, now=datetime(2026, 11, 20, 12, tzinfo=UTC), days=2)


def received(consumer: Consumer) -> Message:
    while True:
        for event in consumer.poll(timeout_seconds=0.2):
            if isinstance(event, Message):
                return event


def data_addresses(column: pa.Array) -> list[int]:
    return [buffer.address for buffer in column.buffers() if buffer is not None and buffer.size]


def test_untouched_columns_lie_in_the_receive_buffer_until_the_table_goes(world: World) -> None:
    config = world.pipeline(partitions=1)
    produce(config, GENERATOR, range(1), partitions=1, rows=1_000)
    before = librdkafka_threads()
    consumer = Consumer(
        config.kafka, group="g", positions={0: Position(0)}, max_message_bytes=2**24, max_queued_bytes=2**24
    )
    message = received(consumer)
    assert message.payload is not None
    first, stop = message.payload.address, message.payload.address + message.payload.size
    stamp = Stamp(0, 0, 0, 0, datetime.now(UTC))
    made = rows_of(message.payload, config, plan_for(config, None), stamp)
    assert isinstance(made, MessageRows)
    consumer.close()
    del message, consumer
    gc.collect()
    for piece in made.slices:
        for name in UNTOUCHED:
            addresses = data_addresses(piece.rows.column(name))
            assert addresses
            assert all(first <= address < stop for address in addresses), name
    assert made.slices[0].rows.column("uuid")[0].as_py() == GENERATOR.batch(0, 1_000).column("uuid")[0].as_py()
    assert set(made.copies.by_cause) == {CopyCause.CAST}
    assert librdkafka_threads() - before
    del made, piece
    gc.collect()
    wait_for(lambda: librdkafka_threads() <= before)


def test_a_drain_of_uncompressed_messages_copies_nothing_but_the_declared_cast(world: World) -> None:
    config = world.pipeline(partitions=1)
    produce(config, GENERATOR, range(4), partitions=1, rows=1_000)
    receipts = drained(config)
    assert sum(receipt.bytes_received for receipt in receipts) > 4_000_000
    assert sum(receipt.copies.copied_bytes for receipt in receipts) == 0
    assert sum(receipt.copies.cast_bytes for receipt in receipts) == 4_000 * 8
