"""What the YAML says of the table, from Kafka to the lake and to Dagster: units, values, freeze, casts, keys."""

import io
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest
from confluent_kafka import Producer

from arrow_ingest.components.ledger_view import read_view
from arrow_ingest.components.metadata import time_travel_query
from arrow_ingest.components.names import Names
from arrow_ingest.components.pipeline_definitions import pipeline_definitions
from arrow_ingest.components.table_spec import partitions_def
from arrow_ingest.config import PipelineConfig
from arrow_ingest.table_shape import DEFAULT_METADATA_COLUMNS
from arrow_ingest.values import Reason
from arrow_ingest_tests.dagster_home import instance_in
from arrow_ingest_tests.lake_contents import assert_verified, drained, query
from arrow_ingest_tests.worlds import World

AT = "2026-11-04T02:30:00Z"
Configured = Callable[..., PipelineConfig]


@pytest.fixture
def configured(world: World) -> Configured:
    return partial(world.pipeline, partitions=1)


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with instance_in(tmp_path / "dagster") as made:
        yield made


def send(config: PipelineConfig, *messages: Mapping[str, Any], **record: Any) -> None:
    """One message of one batch each, in this order."""
    producer = Producer({"bootstrap.servers": config.kafka.bootstrap_servers, "batch.num.messages": 1})
    for columns in messages:
        batch, sink = pa.record_batch(columns), io.BytesIO()
        with pa.ipc.new_stream(sink, batch.schema) as stream:
            stream.write_batch(batch)
        producer.produce(config.kafka.topic, sink.getvalue(), partition=0, **record)
        assert producer.flush(10) == 0


def rows(config: PipelineConfig, columns: str) -> list[dict[str, Any]]:
    """The table's rows in the order of the log."""
    found = query(config, f"SELECT {columns} FROM lake.main.events ORDER BY _kafka_offset, _kafka_row")
    return found.to_pylist()  # type: ignore[no-any-return]


def materialised(config: PipelineConfig, instance: dg.DagsterInstance) -> dict[str, int]:
    """Partition and row count of what one supervised run published, each of it known to Dagster and accounted for."""
    job = pipeline_definitions(config).resolve_job_def(Names.of(config).job)
    assert job.execute_in_process(instance=instance, tags=Names.of(config).run_tags(0)).success
    table = Names.of(config).table
    counts = {
        str(found.partition): int(str(found.metadata["dagster/partition_row_count"].value))
        for record in instance.fetch_materializations(table, limit=1000, ascending=True).records
        if (found := record.asset_materialization) is not None
    }
    known = partitions_def(config)
    assert known is not None
    assert set(counts) <= set(known.get_partition_keys(dynamic_partitions_store=instance))
    view = read_view(config)
    for key, count in counts.items():
        assert view.table_rows[key] == count
        past = time_travel_query(config, key, view.totals[key].last_snapshot).removesuffix(";")
        assert query(config, past).num_rows == count
    return counts


@pytest.mark.parametrize(
    ("unit", "keys"), [("hour", ["2026-11-04-02:00", "2026-11-04-03:00"]), ("month", ["2026-11-01"])]
)
def test_hours_and_months_are_materialised_and_columns_called_like_them_kept(
    configured: Configured, instance: dg.DagsterInstance, unit: str, keys: list[str]
) -> None:
    config = configured(partition_by={"column": "timestamp", "unit": unit, "start": "2026-11-01"})
    send(config, {"timestamp": [AT, "2026-11-04T03:00:00Z", None], "hour": [7, 8, 9], "Year": ["a", "b", "c"]})
    assert sorted(materialised(config, instance)) == keys
    assert rows(config, 'hour, "Year"') == [{"hour": h, "Year": y} for h, y in zip((7, 8, 9), "abc", strict=True)]
    assert_verified(config)


def test_values_become_dagsters_partitions_as_they_appear(configured: Configured, instance: dg.DagsterInstance) -> None:
    config = configured(partition_by={"column": "event", "unit": "value"})
    send(config, {"event": ["$pageview", "a/b", "", None, "NULL"], "n": range(5)}, {"event": ["x" * 300], "n": [9]})
    assert materialised(config, instance) == {"$pageview": 1, "a/b": 1, "%": 1, "NULL": 1}
    send(config, {"n": [5, 6], "event": ["100 %", "a/b"]})
    assert materialised(config, instance) == {"$pageview": 1, "a/b": 2, "%": 1, "NULL": 1, "100 %25": 1}
    assert [row["event"] for row in rows(config, "event")] == ["$pageview", "a/b", "", None, "NULL", "100 %", "a/b"]
    assert query(config, "SELECT reason FROM lake.main.events__dead_letters").column(0).to_pylist() == [
        Reason.PARTITION_VALUE
    ]
    assert_verified(config)


@pytest.mark.parametrize("flush_bytes", ["1B", "64MiB"])
def test_a_frozen_table_is_what_its_first_message_made_of_it(configured: Configured, flush_bytes: str) -> None:
    config = configured(schema_policy="freeze", flush={"max_bytes": flush_bytes})
    empty = {"timestamp": pa.array([], pa.string()), "n": pa.array([], pa.int32()), "s": pa.array([], pa.string())}
    news = [{"timestamp": [AT], "more": ["x"]}, {"timestamp": [AT], "n": [2**40]}]
    send(config, empty, {"timestamp": [AT], "n": pa.array([1], pa.int16())}, *news, {"s": ["y"], "timestamp": [AT]})
    drained(config)
    assert rows(config, "n, s") == [{"n": 1, "s": None}, {"n": None, "s": "y"}]
    assert query(config, "SELECT reason FROM lake.main.events__dead_letters").column(0).to_pylist() == [
        Reason.SCHEMA_FROZEN
    ] * len(news)
    assert_verified(config)


def test_values_that_cannot_be_cast_are_null_and_counted(configured: Configured) -> None:
    config = configured(on_cast_error="null")
    send(config, {"timestamp": [AT, "soon", None], "n": [0, 1, 2]})
    [receipt] = drained(config)
    assert (receipt.tally.rows, receipt.tally.nulled, receipt.tally.dead) == (3, 1, 0)
    assert {part.value: part.rows for part in receipt.touched} == {"2026-11-04": 1, None: 2}
    assert [row["timestamp"] is None for row in rows(config, "timestamp")] == [False, True, True]
    assert_verified(config)


def test_key_and_headers_come_with_every_row_of_their_message(configured: Configured) -> None:
    config = configured(metadata_columns=[*DEFAULT_METADATA_COLUMNS, "_kafka_key", "_kafka_headers"])
    send(config, {"timestamp": [AT, AT]}, key=b"\x00k", headers=[("trace", b"1"), ("trace", None)])
    send(config, {"timestamp": [AT]})
    drained(config)
    headers = [{"key": "trace", "value": b"1"}, {"key": "trace", "value": None}]
    keyed = {"_kafka_key": b"\x00k", "_kafka_headers": headers}
    assert rows(config, "_kafka_key, _kafka_headers") == [keyed, keyed, {"_kafka_key": None, "_kafka_headers": []}]
    assert_verified(config)
