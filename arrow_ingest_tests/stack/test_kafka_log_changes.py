"""What becomes of a log: compacted, cut at its beginning, more partitions, deleted and made again."""

import subprocess
import threading
from collections.abc import Callable

import pytest

from arrow_ingest.config import PipelineConfig
from arrow_ingest.errors import LaneSuspended, RebuildRefused, SuspendReason
from arrow_ingest.kafka.cluster import Cluster
from arrow_ingest.pipeline.drain import drain
from arrow_ingest.pipeline.interventions import rebase, resume
from arrow_ingest.pipeline.rebuild import rebuild
from arrow_ingest.pipeline.rebuild_choice import between
from arrow_ingest.pipeline.standing import standing_of
from arrow_ingest.producer.arrow import ArrowProducer
from arrow_ingest.producer.events import EventGenerator
from arrow_ingest.stack.kafka import KafkaCluster
from arrow_ingest.values import Point
from arrow_ingest_tests.kafka_records import kafka_config, read_to_end, reader, wait_for
from arrow_ingest_tests.lake_contents import (
    PARTITIONS,
    ROWS,
    assert_holds_exactly,
    assert_verified,
    crash_drain_command,
    drained,
    make_topic_again,
    produce,
    query,
)
from arrow_ingest_tests.worlds import World

pytestmark = pytest.mark.stack


def records_left(config: PipelineConfig) -> int:
    """How many records a reader of partition 0 finds between its low watermark and its end."""
    with Cluster(config.kafka) as cluster:
        low = cluster.topic_state().low[0]
    consumer = reader(kafka_config(config.kafka.bootstrap_servers, config.kafka.topic), {0: low})
    try:
        return len(read_to_end(consumer)[0])
    finally:
        consumer.close()


def send_keyed(config: PipelineConfig, generator: EventGenerator, indices: range, key_of: Callable[[int], str]) -> None:
    with ArrowProducer(config.kafka.topic, {"bootstrap.servers": config.kafka.bootstrap_servers}) as producer:
        for index in indices:
            producer.send(generator.batch(index, ROWS), key=key_of(index), partition=0)


def test_a_compacted_topic_is_read_over_its_gaps_and_what_was_read_stays(
    kafka: KafkaCluster, world: World, generator: EventGenerator
) -> None:
    config = world.pipeline(partitions=1)
    topic = config.kafka.topic
    compact = "cleanup.policy=compact,segment.bytes=1048576,min.cleanable.dirty.ratio=0.01,segment.ms=300"
    kafka.tool("kafka-configs", "--alter", "--topic", topic, "--add-config", compact)
    send_keyed(config, generator, range(6), lambda index: f"read-{index % 2}")
    drained(config)
    assert_holds_exactly(config, generator, 6, partitions=1)
    send_keyed(config, generator, range(6, 12), lambda index: f"new-{index % 2}")
    # The segment that is written to is never compacted, so one record more begins the next; some of these are left too.
    # With six of either kind of key left, there would be nine.
    wait_for(lambda: rolled_and_left(config, generator) <= 8, deadline_seconds=100)
    drained(config)
    found = query(config, "SELECT DISTINCT _kafka_offset AS o FROM lake.main.events ORDER BY o").column(0).to_pylist()
    assert found[:6] == [0, 1, 2, 3, 4, 5]
    assert {10, 11} <= set(found)
    assert not {6, 7, 8, 9} & set(found)
    assert standing_of(config).lag() == 0
    assert_verified(config)


def rolled_and_left(config: PipelineConfig, generator: EventGenerator) -> int:
    send_keyed(config, generator, range(1), lambda _: "roller")
    return records_left(config)


def test_a_log_cut_behind_the_stored_offset_suspends_until_its_loss_is_accepted(
    kafka: KafkaCluster, world: World, generator: EventGenerator
) -> None:
    config = world.pipeline()
    produce(config, generator, range(8))
    drained(config)
    produce(config, generator, range(8, 24))
    offsets = world.tmp_path / "offsets.json"
    offsets.write_text(
        f'{{"version": 1, "partitions": [{{"topic": "{config.kafka.topic}", "partition": 1, "offset": 4}}]}}'
    )
    kafka.tool("kafka-delete-records", "--offset-json-file", str(offsets))
    for _ in range(2):
        with pytest.raises(LaneSuspended) as suspended:
            drained(config)
    assert "[2, 4)" in str(suspended.value)
    assert suspended.value.reason is SuspendReason.OFFSET_OUT_OF_RANGE
    with pytest.raises(LaneSuspended):
        resume(config, 0, run_id="operator")
    resume(config, 0, run_id="operator", accept_loss=True)
    drained(config)
    found = query(config, "SELECT _kafka_partition AS p, count(*) AS n FROM lake.main.events GROUP BY 1 ORDER BY 1")
    assert [row["n"] for row in found.to_pylist()] == [6 * ROWS, 4 * ROWS, 6 * ROWS, 6 * ROWS]
    assert query(config, "SELECT count(*) AS n FROM lake.arrow_ingest.commits WHERE kind = 'gap'").to_pylist() == [
        {"n": 1}
    ]
    with pytest.raises(RebuildRefused, match=r"offsets \[0, 2\) of Kafka partition 1, and the log holds \[4, "):
        list(rebuild(config, between("2000", "2999"), run_id="operator", wait_seconds=0))
    assert_verified(config)


def test_a_log_cut_while_a_run_reads_it_suspends_and_keeps_what_was_committed(
    kafka: KafkaCluster, world: World, generator: EventGenerator
) -> None:
    config = world.pipeline(
        partitions=1,
        run={"until": "deadline", "linger_seconds": 60, "max_run_seconds": 60},
        flush={"max_bytes": "1B", "max_age_seconds": 0.5},
    )
    produce(config, generator, range(2), partitions=1)
    running = drain(config, run_id="test")
    rows = 0
    while rows < 2 * ROWS:
        receipt = next(running)
        rows += receipt.tally.rows if receipt is not None else 0
    running.close()
    produce(config, generator, range(2, 6), partitions=1)
    offsets = world.tmp_path / "offsets.json"
    offsets.write_text(
        f'{{"version": 1, "partitions": [{{"topic": "{config.kafka.topic}", "partition": 0, "offset": -1}}]}}'
    )
    kafka.tool("kafka-delete-records", "--offset-json-file", str(offsets))
    with pytest.raises(LaneSuspended) as suspended:
        list(drain(config, run_id="test"))
    assert suspended.value.reason is SuspendReason.OFFSET_OUT_OF_RANGE
    assert suspended.value.available == (6, 6)
    assert_holds_exactly(config, generator, 2, partitions=1)


def test_partitions_added_while_lanes_drain_are_found_by_their_lane(
    kafka: KafkaCluster, world: World, generator: EventGenerator
) -> None:
    config = world.pipeline(partitions=2, lanes=2)
    produce(config, generator, range(4), partitions=2)
    running = drain(config, lane=0, run_id="test")
    while next(running) is None:
        pass
    kafka.tool("kafka-topics", "--alter", "--topic", config.kafka.topic, "--partitions", "5")
    with Cluster(config.kafka) as cluster:
        wait_for(lambda: len(cluster.topic_state().high) == 5, 60)
    with ArrowProducer(config.kafka.topic, {"bootstrap.servers": world.bootstrap_servers}) as producer:
        for index in range(4, 13):
            producer.send(generator.batch(index, ROWS), partition=2 + index % 3)
    list(running)
    drained(config, lane=1)
    drained(config, lane=0)
    found = query(
        config, "SELECT _kafka_partition AS p, count(DISTINCT _kafka_offset) AS n FROM lake.main.events GROUP BY 1"
    )
    assert {row["p"]: row["n"] for row in found.to_pylist()} == {0: 2, 1: 2, 2: 3, 3: 3, 4: 3}
    standing = standing_of(config)
    assert standing.lag() == 0
    assert {lane.lane: set(lane.offsets) for lane in standing.lanes} == {0: {0, 2, 4}, 1: {1, 3}}
    assert_verified(config)


def test_a_topic_made_again_under_a_run_ends_it_before_the_next_commit_and_rebase_goes_on(
    world: World, generator: EventGenerator
) -> None:
    config = world.pipeline()
    produce(config, generator, range(8))
    command = crash_drain_command(config, Point.STAGED.value, "wait")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "waiting\n"
        make_topic_again(config)
        said, _ = run.communicate("go on\n", timeout=120)
    # Its consumer may have asked while there was no topic; what counts is that it commits nothing of the old one.
    assert "LaneSuspended: lane suspended (topic_recreated)" in said or "TopicMissing" in said, said
    assert query(config, "SELECT count(*) AS n FROM lake.arrow_ingest.commits").to_pylist() == [{"n": 0}]
    with pytest.raises(LaneSuspended) as suspended:
        drained(config)
    assert suspended.value.reason is SuspendReason.TOPIC_RECREATED
    rebase(config, 0, run_id="operator")
    produce(config, generator, range(4))
    drained(config)
    found = query(config, "SELECT _kafka_generation AS g, count(*) AS n FROM lake.main.events GROUP BY 1").to_pylist()
    assert found == [{"g": 1, "n": 4 * ROWS}]
    assert_verified(config)


def test_a_topic_made_again_under_an_idle_run_ends_it_and_its_records_are_not_taken_for_the_old_ones(
    world: World, generator: EventGenerator
) -> None:
    config = world.pipeline(run={"until": "deadline", "linger_seconds": 90, "max_run_seconds": 90})
    produce(config, generator, range(8))
    met: list[BaseException] = []
    committed = threading.Event()

    def run() -> None:
        rows = 0
        try:
            for receipt in drain(config, run_id="test"):
                rows += receipt.tally.rows if receipt is not None else 0
                if rows == 8 * ROWS:
                    committed.set()
        except Exception as error:  # noqa: BLE001 - looked at below
            met.append(error)

    lingering = threading.Thread(target=run)
    lingering.start()
    assert committed.wait(60)
    with Cluster(config.kafka) as cluster:
        cluster.delete_topic()
        cluster.create_topic(PARTITIONS)
    produce(config, generator, range(20))
    lingering.join(120)
    assert not lingering.is_alive()
    with pytest.raises(LaneSuspended) as suspended:
        drained(config)
    assert suspended.value.reason is SuspendReason.TOPIC_RECREATED, met
    assert_holds_exactly(config, generator, 8)
