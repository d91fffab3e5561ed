"""Maintenance in a loop beside two lanes that ingest, processes of both killed amid their work: exactly once."""

import random
from datetime import UTC, datetime
from pathlib import Path

import pytest

from arrow_ingest.demo.broker import EmbeddedBroker
from arrow_ingest.maintenance_settings import Step
from arrow_ingest.producer.events import EventGenerator
from arrow_ingest_tests.chaos.busy_lake import PROCESSES, BusyLake, busy_pipeline
from arrow_ingest_tests.chaos.busy_process import COMMITTED, FAILED, MAINTAINED
from arrow_ingest_tests.chaos.scoreboard import Score
from arrow_ingest_tests.conftest import new_catalog, new_topic
from arrow_ingest_tests.lake_contents import PARTITIONS
from arrow_ingest_tests.worlds import POSTGRES, SQLITE

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1_200)]

ROUNDS = 1
MESSAGES = 12


def test_lanes_and_maintenance_killed_side_by_side_lose_and_repeat_nothing(
    request: pytest.FixtureRequest, tmp_path: Path, broker: EmbeddedBroker, seed: int, score: Score
) -> None:
    chance = random.Random(f"beside maintenance/{seed}")
    catalog = new_catalog(request, (POSTGRES, SQLITE)[seed % 2], tmp_path)
    topic = new_topic(broker.bootstrap_servers, PARTITIONS)
    generator = EventGenerator(seed=seed, now=datetime(2026, 11, 20, 12, tzinfo=UTC), days=3)
    lake = BusyLake(busy_pipeline(tmp_path, broker.bootstrap_servers, topic, catalog), generator, tmp_path)
    lake.send(MESSAGES)
    lake.drain_the_rest()  # there is something to maintain
    kills = 0
    with lake.running():
        for _ in range(ROUNDS):
            for name in chance.sample(list(PROCESSES), len(PROCESSES)):
                work = MAINTAINED if name == "maintenance" else COMMITTED
                before = lake.count(name, work)
                lake.send(MESSAGES)
                lake.wait_until_it_says(name, work, after=before)
                lake.kill(name)  # amid whatever it has come to by now
                kills += 1
        done = {step: lake.count("maintenance", f"{MAINTAINED} {step}") for step in (Step.MERGE, Step.EXPIRE)}
        lake.send(MESSAGES)
        for step, before in done.items():
            lake.wait_until_it_says("maintenance", f"{MAINTAINED} {step}", after=before)
    lake.drain_the_rest()
    damage = lake.damage()
    score(kills=kills, **damage)
    report = lake.verified()
    assert report.ok, report.findings
    assert damage == {"lost": 0, "duplicated": 0}
    assert not [said for said in lake.said["maintenance"] if said.startswith(FAILED)], lake.said
    print(lake.said)
