"""Four lanes in four processes on Apache Kafka and PostgreSQL: side by side, exactly once, columns added meanwhile."""

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from arrow_ingest.config import KafkaConfig, PipelineConfig
from arrow_ingest.kafka.cluster import Cluster
from arrow_ingest.lake.maintenance.report import MaintenanceReport, Outcome
from arrow_ingest.lake.maintenance.run import maintain
from arrow_ingest.maintenance_settings import Maintenance, Step
from arrow_ingest.pipeline.relayout import apply_lanes
from arrow_ingest.producer.arrow import ArrowProducer
from arrow_ingest.producer.events import EventGenerator
from arrow_ingest.stack.kafka import KafkaCluster
from arrow_ingest.stack.postgres import PostgresServer
from arrow_ingest_tests.lake_contents import ROWS, assert_verified, pipeline, query
from arrow_ingest_tests.lake_writers import start_python

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

LANES, PARTITIONS, MESSAGES = 4, 8, 160

DRAIN = """
import json, sys, time
from arrow_ingest.config import PipelineConfig
from arrow_ingest.errors import LaneBusy
from arrow_ingest.pipeline.drain import drain
config = PipelineConfig.model_validate(json.loads(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
while True:
    try:
        for receipt in drain(config, lane=int(sys.argv[2]), run_id=f"child-{sys.argv[2]}"):
            if receipt is not None:
                print(json.dumps([receipt.snapshot_id, receipt.tally.rows, list(receipt.schema_changes)]), flush=True)
        break
    except LaneBusy:  # maintenance rotates the lane's table; a sensor would try again as well
        time.sleep(0.1)
"""


@pytest.fixture
def generator() -> EventGenerator:
    return EventGenerator(seed=7, now=datetime(2026, 11, 20, 12, tzinfo=UTC), days=1)


@pytest.fixture
def config(tmp_path: Path, kafka: KafkaCluster, postgres: PostgresServer) -> PipelineConfig:
    """Micro-batches of about five messages, so that each lane commits several times."""
    topic = f"lanes-{tmp_path.name}"
    with Cluster(KafkaConfig(topic=topic, bootstrap_servers=kafka.bootstrap_servers)) as cluster:
        cluster.create_topic(PARTITIONS)
    return pipeline(
        tmp_path,
        kafka.bootstrap_servers,
        topic,
        catalog=f"postgres:{postgres.new_database()}",
        lanes=LANES,
        flush={"max_bytes": "300KiB", "max_age_seconds": 5},
    )


def produce_with_columns_that_come_later(config: PipelineConfig, generator: EventGenerator, indices: range) -> None:
    """Every lane meets a new column, each at another place; half of the messages of partitions 4 to 7 have another."""
    with ArrowProducer(config.kafka.topic, {"bootstrap.servers": config.kafka.bootstrap_servers}) as producer:
        for index in indices:
            partition, number = index % PARTITIONS, index // PARTITIONS
            batch = generator.batch(index, ROWS)
            if number >= 4 + 2 * partition:
                batch = batch.append_column("plan", pa.array(["pro"] * ROWS))
            if partition >= 4 and number % 2:
                batch = batch.append_column("seats", pa.array([number] * ROWS, pa.int32()))
            producer.send(batch, partition=partition)


def drained_by(config: PipelineConfig, lanes: Sequence[int]) -> dict[int, list[tuple[int, int, list[str]]]]:
    """Drain lanes in a process each, all let go at once; per lane its commits: snapshot, rows, schema changes."""
    settings = json.dumps(config.model_dump(mode="json", by_alias=True))
    children = {lane: start_python(DRAIN, settings, str(lane)) for lane in lanes}
    for child in children.values():
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in children.values():
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
    commits = {}
    for lane, child in children.items():
        said, complained = child.communicate(timeout=200)
        assert child.returncode == 0, f"lane {lane}: {complained.splitlines()[-1:]}\n{complained}"
        commits[lane] = [tuple(json.loads(line)) for line in said.splitlines()]
    return commits


def assert_each_message_is_there_once(config: PipelineConfig, messages: int) -> None:
    found = query(
        config,
        "SELECT _kafka_partition AS p, _kafka_offset AS o, count(*) AS n, count(DISTINCT _kafka_row) AS d "
        "FROM lake.main.events GROUP BY ALL ORDER BY ALL",
    )
    expected = [
        {"p": partition, "o": offset, "n": ROWS, "d": ROWS}
        for partition in range(PARTITIONS)
        for offset in range(messages // PARTITIONS)
    ]
    assert found.to_pylist() == expected
    assert_verified(config)


def test_four_lanes_commit_side_by_side_exactly_once_while_columns_are_added(
    config: PipelineConfig, generator: EventGenerator
) -> None:
    produce_with_columns_that_come_later(config, generator, range(MESSAGES))
    commits = drained_by(config, range(LANES))
    assert_each_message_is_there_once(config, MESSAGES)
    changes = [change for lane in commits.values() for *_, made in lane for change in made]
    assert sum("plan VARCHAR" in change for change in changes) == 1
    assert sum("seats INTEGER" in change for change in changes) == 1
    with_plan = query(config, "SELECT count(plan) AS plans, count(seats) AS seats FROM lake.main.events").to_pylist()
    per_partition = MESSAGES // PARTITIONS
    plans = sum(max(0, per_partition - 4 - 2 * partition) for partition in range(PARTITIONS))
    assert with_plan == [{"plans": plans * ROWS, "seats": 4 * (per_partition // 2) * ROWS}]
    # No lane starves: whoever loses to the others' changes stages again, and comes to its end all the same.
    rows = {lane: sum(row for _, row, _ in made) for lane, made in commits.items()}
    assert rows == dict.fromkeys(range(LANES), MESSAGES // LANES * ROWS)
    assert all(len(made) > 2 for made in commits.values())


def test_two_lanes_become_four_and_then_three_while_the_topic_is_filled(
    config: PipelineConfig, generator: EventGenerator
) -> None:
    third = MESSAGES // 4
    for number, lanes in enumerate((2, 4, 3)):
        produce_with_columns_that_come_later(config, generator, range(number * third, (number + 1) * third))
        config = config.model_copy(update={"lanes": lanes})
        if number:
            apply_lanes(config, run_id="operator", wait_seconds=0)
        drained_by(config, range(lanes))
    assert_each_message_is_there_once(config, 3 * third)


@contextmanager
def maintained(config: PipelineConfig) -> Iterator[list[MaintenanceReport]]:
    """Maintain in a loop while the block runs, as Dagster does, as if all commits were old; what was done."""
    done: list[MaintenanceReport] = []
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            now = datetime.now(UTC) + timedelta(days=40)
            done.append(maintain(config, run_id=f"maintenance-{len(done)}", now=now))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield done
    finally:
        stop.set()
        thread.join(60)


def test_maintenance_beside_four_lanes_is_not_noticed_by_a_lane(
    config: PipelineConfig, generator: EventGenerator
) -> None:
    produce_with_columns_that_come_later(config, generator, range(PARTITIONS))
    drained_by(config, range(LANES))  # there is a table to maintain
    produce_with_columns_that_come_later(config, generator, range(PARTITIONS, MESSAGES))
    eager = {"lock_wait_seconds": 0, "rotate_after": 1, "merge": {"min_files": 1}, "snapshots": {"keep_count": 2}}
    settings = Maintenance.model_validate(eager)
    with maintained(config.model_copy(update={"maintenance": settings})) as done:
        drained_by(config, range(LANES))
    assert_each_message_is_there_once(config, MESSAGES)
    assert all(report.ok for report in done)
    worked = {step.step for report in done for step in report.steps if step.outcome is Outcome.DONE}
    assert worked >= {Step.MERGE, Step.EXPIRE, Step.CLEAN_UP}
