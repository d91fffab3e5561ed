"""Three brokers, of which one dies and comes back: nothing is lost, nothing twice."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from arrow_ingest.config import PipelineConfig
from arrow_ingest.errors import BrokerUnavailable
from arrow_ingest.pipeline.drain import drain
from arrow_ingest.producer.arrow import ArrowProducer
from arrow_ingest.producer.events import EventGenerator
from arrow_ingest.stack.kafka import KafkaCluster
from arrow_ingest_tests.conftest import PROGRAMS, needed
from arrow_ingest_tests.kafka_records import wait_for
from arrow_ingest_tests.lake_contents import PARTITIONS, ROWS, assert_holds_exactly, assert_verified, drained, pipeline

pytestmark = pytest.mark.stack


@pytest.fixture
def three(tmp_path: Path) -> Iterator[KafkaCluster]:
    with needed(lambda: KafkaCluster(tmp_path / "three", 3, programs=PROGRAMS, heap_mib=256)) as running:
        running.tool("kafka-topics", "--create", "--topic", "events", "--partitions", str(PARTITIONS))
        yield running


class Produced:
    """Sends message after message, each acknowledged by the brokers that must have it, until it is stopped."""

    def __init__(self, config: PipelineConfig, generator: EventGenerator) -> None:
        self.count = 0
        self._config = config
        self._generator = generator
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> int:
        """How many there are."""
        self._stop.set()
        self._thread.join(120)
        assert not self._thread.is_alive()
        return self.count

    def _run(self) -> None:
        servers = {"bootstrap.servers": self._config.kafka.bootstrap_servers}
        with ArrowProducer(self._config.kafka.topic, servers) as producer:
            while not self._stop.wait(0.05):
                producer.send(self._generator.batch(self.count, ROWS), partition=self.count % PARTITIONS)
                producer.flush()
                self.count += 1


@pytest.mark.timeout(400)
@pytest.mark.parametrize("end", ["kill", "stop"])
def test_a_leader_lost_and_back_under_a_run_costs_no_row_and_repeats_none(
    three: KafkaCluster, tmp_path: Path, generator: EventGenerator, end: str
) -> None:
    config = pipeline(
        tmp_path,
        three.bootstrap_servers,
        "events",
        run={"until": "deadline", "linger_seconds": 200, "max_run_seconds": 300},
        flush={"max_bytes": "100KiB", "max_age_seconds": 1},
    )
    rows, stop = 0, threading.Event()
    met: list[BaseException] = []

    def run() -> None:
        nonlocal rows
        try:
            for receipt in drain(config, run_id="test", stop=stop):
                rows += receipt.tally.rows if receipt is not None else 0
        except Exception as error:  # noqa: BLE001 - looked at below
            met.append(error)

    running = threading.Thread(target=run)
    running.start()
    producing = Produced(config, generator)
    try:
        wait_for(lambda: rows > 4 * ROWS, 60)
        lost = three.leader("events")
        getattr(lost, end)()
        before = producing.count
        wait_for(lambda: producing.count > before + 4 * PARTITIONS, 90)
        seen = rows
        wait_for(lambda: rows > seen + 2 * PARTITIONS * ROWS or bool(met), 90)
        lost.start()
        before = producing.count
        wait_for(lambda: producing.count > before + PARTITIONS, 60)
    finally:
        count = producing.stop()
        stop.set()
        running.join(120)
    # On a slow machine a question to the lost broker may go unanswered for too long: that ends a run, and is told.
    assert all(isinstance(error, BrokerUnavailable) for error in met), met
    drained(config.model_copy(update={"run": config.run.model_copy(update={"until": "caught_up"})}))
    assert_holds_exactly(config, generator, count)
    assert_verified(config)
