"""Rows of days that are early or late: accepted and counted, or dead letters, and the same answer when read again."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from confluent_kafka import Producer
from pydantic import ValidationError

from arrow_ingest.config import PipelineConfig
from arrow_ingest.demo.broker import PRODUCER_PROPERTIES
from arrow_ingest.errors import ConfigError
from arrow_ingest.lake.dead_letter_query import Wanted
from arrow_ingest.lake.late_rows import late_since
from arrow_ingest.lake.maintenance.run import maintain
from arrow_ingest.lake.session import open_lake
from arrow_ingest.maintenance_settings import Step
from arrow_ingest.pipeline.rebuild import rebuild
from arrow_ingest.pipeline.rebuild_choice import between
from arrow_ingest.pipeline.replay import replay
from arrow_ingest.producer.arrow import ArrowProducer
from arrow_ingest_tests.arrow_payloads import stream_of
from arrow_ingest_tests.lake_contents import assert_verified, drained, pipeline, query

NOW = datetime.now(UTC)
TODAY, TOMORROW, NEXT_WEEK, LAST_MONTH = (f"{NOW + timedelta(days=days):%Y-%m-%d}" for days in (0, 1, 8, -30))
BEFORE_START = "2019-12-31"


@pytest.fixture
def config(tmp_path: Path, broker: Any, topic: Any) -> PipelineConfig:
    by = {"column": "timestamp", "unit": "day", "start": "2020-01-01"}
    return pipeline(tmp_path, broker.bootstrap_servers, topic(partitions=1), partition_by=by)


def with_policy(config: PipelineConfig, **settings: Any) -> PipelineConfig:
    return PipelineConfig.model_validate({**config.model_dump(by_alias=True), "event_time": settings})


def send(config: PipelineConfig, *messages: Sequence[str | None]) -> None:
    """One message per sequence of days, a row for each of them.

    Each in a batch of its own: the embedded broker takes the last batch's *first* offset + 1 for the end of the log.
    """
    properties = {"bootstrap.servers": config.kafka.bootstrap_servers, "batch.num.messages": 1}
    with ArrowProducer(config.kafka.topic, properties) as producer:
        for days in messages:
            times = [None if day is None else f"{day}T12:00:00Z" for day in days]
            producer.send(pa.record_batch({"event": ["e"] * len(days), "timestamp": pa.array(times, pa.string())}))


def days_of(config: PipelineConfig) -> list[str]:
    found = query(config, "SELECT timestamp::DATE::VARCHAR AS day FROM lake.main.events ORDER BY ALL NULLS LAST")
    return found.column("day").to_pylist()


def letters_of(config: PipelineConfig) -> list[tuple[int, str]]:
    found = query(config, 'SELECT "offset", reason FROM lake.main.events__dead_letters ORDER BY ALL')
    return list(zip(*(column.to_pylist() for column in found.columns), strict=True))


def late_of(config: PipelineConfig) -> dict[str, int]:
    with open_lake(config.lake, read_only=True) as lake:
        return late_since(lake, config.name, 0)


def test_by_default_all_is_accepted_and_what_is_late_is_counted(config: PipelineConfig) -> None:
    send(config, [TODAY], [BEFORE_START], [NEXT_WEEK], [None], [LAST_MONTH, LAST_MONTH, TODAY])
    drained(config)
    assert days_of(config) == [BEFORE_START, LAST_MONTH, LAST_MONTH, TODAY, TODAY, NEXT_WEEK, None]
    assert letters_of(config) == []
    assert late_of(config) == {BEFORE_START: 1, LAST_MONTH: 2}
    assert_verified(config)


def test_out_of_range_rows_make_their_whole_message_a_dead_letter(config: PipelineConfig) -> None:
    strict = with_policy(config, out_of_range="dead_letter")
    send(config, [TODAY], [BEFORE_START], [TODAY, NEXT_WEEK], [None], [TOMORROW], [LAST_MONTH])
    drained(strict)
    assert days_of(config) == [LAST_MONTH, TODAY, TOMORROW]
    assert letters_of(config) == [(offset, "out_of_range") for offset in (1, 2, 3)]
    assert_verified(config)


def test_late_rows_make_their_whole_message_a_dead_letter_and_come_when_the_policy_changes(
    config: PipelineConfig,
) -> None:
    strict = with_policy(config, late="dead_letter", late_after_days=3)
    send(config, [TODAY], [LAST_MONTH, TODAY], [TODAY])
    drained(strict)
    assert (days_of(config), letters_of(config)) == ([TODAY, TODAY], [(1, "late")])
    assert replay(strict, Wanted(), run_id="operator", wait_seconds=0).still_dead == {"late": 1}
    assert replay(config, Wanted(), run_id="operator", wait_seconds=0).replayed == {"late": 1}
    assert days_of(config) == [LAST_MONTH, TODAY, TODAY, TODAY]
    assert late_of(config) == {LAST_MONTH: 1}
    assert_verified(config)


def test_to_catch_up_or_to_rebuild_makes_nothing_late(config: PipelineConfig) -> None:
    """Rows are held against the time at which their message was written, which is long ago here."""
    strict = with_policy(config, late="dead_letter", late_after_days=1, out_of_range="dead_letter", max_ahead_days=0)
    producer = Producer({"bootstrap.servers": config.kafka.bootstrap_servers, **PRODUCER_PROPERTIES})
    batch = pa.record_batch({"event": ["e"], "timestamp": [f"{LAST_MONTH}T12:00:00Z"]})
    written_ms = int((NOW - timedelta(days=30)).timestamp() * 1000)
    producer.produce(config.kafka.topic, stream_of(batch).to_pybytes(), partition=0, timestamp=written_ms)
    assert producer.flush(10) == 0
    drained(strict)
    assert (days_of(config), letters_of(config), late_of(config)) == ([LAST_MONTH], [], {})
    [receipt] = rebuild(strict, between(LAST_MONTH, LAST_MONTH), run_id="operator", wait_seconds=0)
    assert receipt.tally.rows == 1
    assert_verified(config)


def test_what_was_late_is_told_while_the_ledger_tells_single_commits_and_forgotten_after(
    config: PipelineConfig,
) -> None:
    settings = {**config.model_dump(by_alias=True), "maintenance": {"ledger": {"volume_commits": 1}}}
    config = PipelineConfig.model_validate(settings)

    def tidy() -> None:
        assert maintain(config, run_id="operator", now=NOW, only=[Step.ROLL_UP]).ok

    send(config, [LAST_MONTH])
    drained(config)
    tidy()
    assert late_of(config) == {LAST_MONTH: 1}
    send(config, [BEFORE_START])
    drained(config)
    assert late_of(config) == {BEFORE_START: 1, LAST_MONTH: 1}
    for _ in range(2):
        tidy()
        assert late_of(config) == {BEFORE_START: 1}
    assert_verified(config)


@pytest.mark.parametrize("by", [None, {"column": "event", "unit": "value"}])
def test_times_are_judged_only_where_table_partitions_are_of_time(
    config: PipelineConfig, by: dict[str, str] | None
) -> None:
    settings = {**config.model_dump(by_alias=True), "partition_by": by}
    PipelineConfig.model_validate(settings)
    with pytest.raises(ValidationError, match="needs partition_by with unit hour, day or month"):
        PipelineConfig.model_validate({**settings, "event_time": {"late": "dead_letter"}})


def test_a_second_pipeline_reads_the_topic_again_from_offsets(config: PipelineConfig) -> None:
    send(config, *([[TODAY]] * 5))
    drained(config)
    again = PipelineConfig.model_validate(
        {
            **config.model_dump(by_alias=True),
            "name": "again",
            "lake": {**config.lake.model_dump(by_alias=True), "table": "again"},
            "start_from": {"0": 3},
        }
    )
    drained(again)
    found = query(config, "SELECT _kafka_offset AS at FROM lake.main.again ORDER BY ALL").column("at").to_pylist()
    assert found == [3, 4]
    assert_verified(config)
    assert_verified(again)


@pytest.mark.parametrize(("offsets", "says"), [({0: 9}, r"holds \[0, 2\)"), ({7: 0}, "has no partition 7")])
def test_offsets_that_the_log_does_not_hold_are_refused(
    config: PipelineConfig, offsets: dict[int, int], says: str
) -> None:
    send(config, [TODAY], [TODAY])
    with pytest.raises(ConfigError, match=says):
        drained(config.model_copy(update={"start_from": offsets}))
