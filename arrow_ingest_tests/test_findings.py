"""What a drain does when the world is not as it should be: poison, new columns, lost brokers, topics made again."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from arrow_ingest.config import PipelineConfig
from arrow_ingest.demo.broker import EmbeddedBroker
from arrow_ingest.errors import BrokerUnavailable, LaneSuspended, SuspendReason
from arrow_ingest.kafka.cluster import Cluster
from arrow_ingest.lake.session import open_lake
from arrow_ingest.pipeline.drain import drain
from arrow_ingest.pipeline.interventions import rebase, resume
from arrow_ingest.pipeline.start import suspend_or_rebase, with_added_partitions
from arrow_ingest.producer.arrow import ArrowProducer
from arrow_ingest.producer.events import EventGenerator
from arrow_ingest.values import LaneState, Point, Position, Receipt, TopicState
from arrow_ingest_tests.kafka_records import wait_for
from arrow_ingest_tests.lake_contents import (
    PARTITIONS,
    ROWS,
    assert_holds_exactly,
    assert_verified,
    crash_drain_command,
    drained,
    make_topic_again,
    pipeline,
    produce,
    query,
)
from arrow_ingest_tests.worlds import World


@pytest.fixture
def generator() -> EventGenerator:
    return EventGenerator(seed=7, now=datetime(2026, 11, 20, 12, tzinfo=UTC), days=3)


@pytest.fixture
def config(world: World) -> PipelineConfig:
    return world.pipeline()


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker(log_file=tmp_path / "broker.log") as running:
        yield running


def send(config: PipelineConfig, *batches: pa.RecordBatch, partition: int = 0) -> None:
    with ArrowProducer(config.kafka.topic, {"bootstrap.servers": config.kafka.bootstrap_servers}) as producer:
        for batch in batches:
            producer.send(batch, partition=partition)


def send_payload(config: PipelineConfig, payload: bytes | None, **arguments: Any) -> None:
    with ArrowProducer(config.kafka.topic, {"bootstrap.servers": config.kafka.bootstrap_servers}) as producer:
        producer.send_payload(payload, **arguments)


def test_poison_becomes_one_dead_letter_whole_and_the_good_ones_go_on(
    config: PipelineConfig, generator: EventGenerator
) -> None:
    produce(config, generator, range(8))
    send_payload(config, b"not arrow", key=b"k", headers={"trace": b"1"}, partition=3)
    send_payload(config, None, partition=2)
    commits = drained(config)
    assert sum(receipt.tally.dead for receipt in commits) == 2
    assert_holds_exactly(config, generator, 8)
    letters = query(config, "FROM lake.main.events__dead_letters ORDER BY partition").to_pylist()
    assert [(letter["partition"], letter["offset"], letter["reason"]) for letter in letters] == [
        (2, 2, "no_value"),
        (3, 2, "framing"),
    ]
    assert letters[1]["payload"] == b"not arrow"
    assert letters[1]["key"] == b"k"
    assert letters[1]["headers"] == [{"key": "trace", "value": b"1"}]
    assert_verified(config)


def test_dead_letters_over_the_budget_suspend_the_lane_until_it_is_resumed(
    world: World, generator: EventGenerator
) -> None:
    config = world.pipeline(dead_letters={"max_per_run": 2, "max_share": 0.1})
    produce(config, generator, range(4))
    for _ in range(3):
        send_payload(config, b"poison", partition=0)
    with pytest.raises(LaneSuspended) as first:
        drained(config)
    assert first.value.reason is SuspendReason.DEAD_LETTER_BUDGET
    with pytest.raises(LaneSuspended, match="3 of this run's"):
        drained(config)
    resume(config, 0, run_id="operator")
    drained(config)
    assert query(config, "SELECT count(*) AS n FROM lake.main.events__dead_letters").to_pylist() == [{"n": 3}]
    assert_holds_exactly(config, generator, 4)
    assert_verified(config)


def test_a_new_column_is_added_in_the_commit_that_brings_it(config: PipelineConfig, generator: EventGenerator) -> None:
    plain = generator.batch(0, ROWS)
    wider = plain.append_column("plan", pa.array(["pro"] * ROWS))
    send(config, plain, wider, plain)
    commits = drained(config)
    changes = [change for receipt in commits for change in receipt.schema_changes]
    assert any("plan VARCHAR" in change for change in changes)
    found = query(
        config,
        "SELECT _kafka_offset AS o, count(plan) AS plans, count(*) AS n FROM lake.main.events GROUP BY 1 ORDER BY 1",
    )
    assert found.to_pylist() == [
        {"o": 0, "plans": 0, "n": ROWS},
        {"o": 1, "plans": ROWS, "n": ROWS},
        {"o": 2, "plans": 0, "n": ROWS},
    ]
    assert_verified(config)


def test_a_conflicting_type_is_a_dead_letter_and_never_a_silent_cast(
    config: PipelineConfig, generator: EventGenerator
) -> None:
    plain = generator.batch(0, ROWS)
    index = plain.schema.get_field_index("team_id")
    conflicting = plain.set_column(index, "team_id", pa.array(["2"] * ROWS))
    send(config, plain, conflicting, plain)
    commits = drained(config)
    assert sum(receipt.tally.dead for receipt in commits) == 1
    letters = query(config, "SELECT reason, detail FROM lake.main.events__dead_letters").to_pylist()
    assert letters[0]["reason"] == "schema_conflict"
    assert "team_id" in letters[0]["detail"]
    assert query(config, "SELECT count(*) AS n FROM lake.main.events").to_pylist() == [{"n": 2 * ROWS}]
    assert_verified(config)


def test_the_table_changed_by_another_writer_is_staged_again(config: PipelineConfig, generator: EventGenerator) -> None:
    from arrow_ingest.lake.session import open_lake

    produce(config, generator, range(4))
    drained(config)
    produce_more = [generator.batch(index, ROWS) for index in range(4, 8)]
    for index, batch in enumerate(produce_more):
        send(config, batch, partition=index % PARTITIONS)
    altered = threading.Event()

    def at(point: Point) -> None:
        if point is Point.STAGED and not altered.is_set():
            altered.set()
            with open_lake(config.lake) as lake:
                lake.execute("ALTER TABLE lake.main.events ADD COLUMN note VARCHAR")

    commits = drained(config, at=at)
    assert altered.is_set()
    assert sum(receipt.tally.rows for receipt in commits) == 4 * ROWS
    assert_holds_exactly(config, generator, 8)
    assert_verified(config)


def test_broker_down_at_start_changes_nothing_and_says_what_to_check(
    tmp_path: Path, generator: EventGenerator, own_broker: EmbeddedBroker
) -> None:
    config = pipeline(tmp_path, own_broker.bootstrap_servers, "events")
    own_broker.stop()
    with pytest.raises(BrokerUnavailable, match=r"kafka\.bootstrap_servers"):
        drained(config)
    assert not (tmp_path / "lake" / "data" / "main").exists()


@pytest.mark.parametrize("messages", [2, 12])
def test_a_topic_made_again_suspends_and_rebase_goes_on_as_a_new_generation(
    config: PipelineConfig, generator: EventGenerator, messages: int
) -> None:
    produce(config, generator, range(8))
    drained(config)
    make_topic_again(config)
    produce(config, generator, range(messages))
    with pytest.raises(LaneSuspended) as suspended:
        drained(config)
    assert suspended.value.reason is SuspendReason.TOPIC_RECREATED
    assert_holds_exactly(config, generator, 8)
    rebase(config, 0, run_id="operator")
    drained(config)
    by_generation = query(
        config, "SELECT _kafka_generation AS g, count(*) AS n FROM lake.main.events GROUP BY 1 ORDER BY 1"
    )
    assert by_generation.to_pylist() == [{"g": 0, "n": 8 * ROWS}, {"g": 1, "n": messages * ROWS}]
    assert_verified(config)


def test_an_offset_that_is_gone_with_its_topic_is_told_as_the_topic_made_again(
    config: PipelineConfig, generator: EventGenerator
) -> None:
    produce(config, generator, range(8))
    drained(config)
    make_topic_again(config)
    met = LaneSuspended(SuspendReason.LOG_TRUNCATED, "offset 2 is next, the broker holds [0, 0)")
    with Cluster(config.kafka) as cluster, open_lake(config.lake) as lake, pytest.raises(LaneSuspended) as told:
        suspend_or_rebase(config, 0, lake, cluster, met, run_id="test")
    assert told.value.reason is SuspendReason.TOPIC_RECREATED


def test_a_topic_made_again_goes_on_by_itself_where_the_yaml_says_so(world: World, generator: EventGenerator) -> None:
    config = world.pipeline(on_topic_recreated="new_generation")
    produce(config, generator, range(4))
    drained(config)
    make_topic_again(config)
    produce(config, generator, range(6))
    receipts: list[Receipt] = drained(config)
    assert {receipt.generation for receipt in receipts} == {1}
    assert query(config, "SELECT count(*) AS n FROM lake.main.events").to_pylist() == [{"n": 10 * ROWS}]
    assert_verified(config)


def test_a_topic_made_again_during_the_run_is_met_before_the_next_commit(
    tmp_path: Path, own_broker: EmbeddedBroker, generator: EventGenerator
) -> None:
    config = pipeline(tmp_path, own_broker.bootstrap_servers, "events")
    with Cluster(config.kafka) as cluster:
        cluster.create_topic(PARTITIONS)
    produce(config, generator, range(8))
    command = crash_drain_command(config, Point.STAGED.value, "wait")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "waiting\n"
        own_broker.stop()
        with EmbeddedBroker(port=own_broker.port):
            with Cluster(config.kafka) as cluster:
                cluster.create_topic(PARTITIONS)
            said, _ = run.communicate("go on\n", timeout=60)
    assert "LaneSuspended: lane suspended (topic_recreated)" in said
    assert query(config, "SELECT count(*) AS n FROM lake.arrow_ingest.commits").to_pylist() == [{"n": 0}]


def test_partitions_added_to_the_topic_find_their_lane() -> None:
    stored = LaneState(
        "events", lane=1, layout=2, generation=0, topic_id="id", positions={1: Position(5), 3: Position(6)}
    )
    grown = TopicState("t", "id", low=dict.fromkeys(range(6), 2), high=dict.fromkeys(range(6), 9))
    assert with_added_partitions(stored, grown).offsets == {1: 5, 3: 6, 5: 2}


def test_drain_stops_at_a_broker_that_dies_and_goes_on_when_it_is_back_as_a_new_topic(
    tmp_path: Path, own_broker: EmbeddedBroker, generator: EventGenerator
) -> None:
    config = pipeline(
        tmp_path,
        own_broker.bootstrap_servers,
        "events",
        run={"until": "deadline", "linger_seconds": 120, "max_run_seconds": 120},
        flush={"max_bytes": "300KiB", "max_age_seconds": 0.5},
    )
    with Cluster(config.kafka) as cluster:
        cluster.create_topic(PARTITIONS)
    produce(config, generator, range(8))
    running = drain(config, run_id="test")
    left = 8 * ROWS
    while left:
        receipt = next(running)
        left -= receipt.tally.rows if receipt is not None else 0
    own_broker.stop()
    with pytest.raises(BrokerUnavailable):
        list(running)
    with EmbeddedBroker(port=own_broker.port):
        with Cluster(config.kafka) as cluster:
            cluster.create_topic(PARTITIONS)
        rebase(config, 0, run_id="operator")
        until_caught_up = config.run.model_copy(update={"until": "caught_up"})
        produce(config, generator, range(8))
        list(drain(config, run_id="test", run=until_caught_up))
        found = query(config, "SELECT count(*) AS n FROM lake.main.events WHERE _kafka_generation = 1").to_pylist()
        assert found == [{"n": 8 * ROWS}]
        assert_verified(config)


def test_a_producer_killed_in_the_middle_leaves_whole_messages_only(config: PipelineConfig) -> None:
    script = (
        "import sys; from datetime import UTC, datetime\n"
        "from arrow_ingest.producer.arrow import ArrowProducer\n"
        "from arrow_ingest.producer.events import EventGenerator\n"
        "generator = EventGenerator(1, now=datetime(2026, 11, 20, tzinfo=UTC))\n"
        "producer = ArrowProducer(sys.argv[1], {'bootstrap.servers': sys.argv[2]})\n"
        "for index in range(10**6): producer.send(generator.batch(index, 50), partition=index % 4)"
    )
    command = [sys.executable, "-c", script, config.kafka.topic, config.kafka.bootstrap_servers]
    with subprocess.Popen(command) as producing, Cluster(config.kafka) as cluster:
        try:
            wait_for(lambda: sum(cluster.topic_state().high.values()) > 20, deadline_seconds=60)
        finally:
            producing.kill()  # it goes on for ever
            producing.wait()
        messages = sum(cluster.topic_state().high.values())
    commits = drained(config)
    assert sum(receipt.tally.messages for receipt in commits) == messages
    assert sum(receipt.tally.rows for receipt in commits) == messages * 50
    assert_verified(config)
