"""Transactions: what was aborted never shows, and the end of the log is reached although no record stands there."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa
import pytest
from confluent_kafka import Producer

from arrow_ingest.config import PipelineConfig
from arrow_ingest.pipeline.standing import standing_of
from arrow_ingest.producer.events import EventGenerator
from arrow_ingest_tests.lake_contents import ROWS, assert_verified, drained, query
from arrow_ingest_tests.worlds import World

pytestmark = pytest.mark.stack

_numbers = itertools.count()


@pytest.fixture
def config(world: World) -> PipelineConfig:
    return world.pipeline(partitions=1)


def stream(batch: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


@contextmanager
def transactions(config: PipelineConfig) -> Iterator[Producer]:
    """A producer that can make transactions; the last one is open when the block ends, or not, as the test left it."""
    name = f"{config.kafka.topic}-{next(_numbers)}"
    servers = config.kafka.bootstrap_servers
    producer = Producer({"bootstrap.servers": servers, "transactional.id": name, "log_level": 0})
    producer.init_transactions(30)
    yield producer


def begin(producer: Producer, config: PipelineConfig, generator: EventGenerator, *indices: int) -> None:
    """Open a transaction and write these messages; they are in the log, and belong to nothing yet."""
    producer.begin_transaction()
    for index in indices:
        producer.produce(config.kafka.topic, stream(generator.batch(index, ROWS)), partition=0)
    assert producer.flush(30) == 0


def shown(config: PipelineConfig, generator: EventGenerator) -> set[int]:
    """The messages whose rows the table has, by their index; each of them with all of its rows, once."""
    of_row = {str(value): index for index in range(10) for value in generator.batch(index, ROWS).column("uuid")}
    [by_ledger] = (
        query(config, "SELECT coalesce(sum(rows), 0)::INT FROM lake.arrow_ingest.commits").column(0).to_pylist()
    )
    if by_ledger == 0:  # the first rows make the table
        return set()
    rows = query(config, "SELECT uuid FROM lake.main.events").column(0).to_pylist()
    assert len(rows) == by_ledger
    found = [of_row[row] for row in rows]
    assert all(found.count(index) == ROWS for index in set(found))
    return set(found)


def lag(config: PipelineConfig) -> int | None:
    return standing_of(config).lag()


def test_aborted_rows_never_show_and_the_lag_reaches_zero_behind_control_records(
    config: PipelineConfig, generator: EventGenerator
) -> None:
    with transactions(config) as producer:
        begin(producer, config, generator, 0, 1)
        producer.commit_transaction(30)
        begin(producer, config, generator, 2)
        producer.abort_transaction(30)
        begin(producer, config, generator, 3)
        producer.commit_transaction(30)
        begin(producer, config, generator, 4, 5)
        producer.abort_transaction(30)
    assert lag(config) == 10  # six records and four control records
    drained(config)
    assert shown(config, generator) == {0, 1, 3}
    assert lag(config) == 0
    assert_verified(config)
    assert drained(config) == []


@pytest.mark.parametrize("first", [(), (0,)])
def test_a_log_of_nothing_but_aborted_records_is_read_to_its_end(
    config: PipelineConfig, generator: EventGenerator, first: tuple[int, ...]
) -> None:
    with transactions(config) as producer:
        if first:
            begin(producer, config, generator, *first)
            producer.commit_transaction(30)
            drained(config)
        begin(producer, config, generator, 1, 2)
        producer.abort_transaction(30)
    drained(config)
    assert lag(config) == 0
    assert shown(config, generator) == set(first)
    assert_verified(config)


def test_an_open_transaction_ends_the_log_until_it_is_committed(
    config: PipelineConfig, generator: EventGenerator
) -> None:
    with transactions(config) as producer, transactions(config) as other:
        begin(producer, config, generator, 0)
        begin(other, config, generator, 1)
        other.commit_transaction(30)
        drained(config)
        assert (shown(config, generator), lag(config)) == (set(), 0)
        producer.commit_transaction(30)
    assert lag(config) == 4
    drained(config)
    assert (shown(config, generator), lag(config)) == ({0, 1}, 0)
    assert_verified(config)
