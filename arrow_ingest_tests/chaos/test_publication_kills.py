"""Runs killed as they tell Dagster what they committed: what one left untold is told by the next."""

import random
import signal
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg
import pytest

from arrow_ingest.components import history
from arrow_ingest.components.names import PIPELINE_CHECKS, Names
from arrow_ingest.demo.broker import EmbeddedBroker
from arrow_ingest.lake.ledger import commits_since
from arrow_ingest_tests import crash_run
from arrow_ingest_tests.chaos.killed_lake import KilledLake, killed_pipeline, three_days
from arrow_ingest_tests.chaos.nursery import Nursery
from arrow_ingest_tests.chaos.scoreboard import Score
from arrow_ingest_tests.dagster_home import instance_in
from arrow_ingest_tests.dagster_runs import check_states, materializations, partition_badges, versions

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

KILLS = 5
EVENTS = 18
"""A publication of three days and the pipeline's checks is so long, or longer; each fifth of it gets a kill."""


@dataclass
class ToldLake(KilledLake):
    """One lake, and the Dagster that its runs tell of it.

    Args:
        nursery: where its runs come from.
        home: their DAGSTER_HOME.
        instance: the same, as it is looked at.
        seen: of each day the newest data version so far.
    """

    nursery: Nursery = field(kw_only=True)
    home: Path = field(kw_only=True)
    instance: dg.DagsterInstance = field(kw_only=True)
    seen: dict[str | None, int] = field(default_factory=dict)

    def run(self, *events: int) -> bool:
        """Send a few messages, then run; whether it was killed."""
        self.send()
        ended = self.nursery.run(self.config, str(self.home), *map(str, events))
        assert ended.returncode in (0, -signal.SIGKILL), (events, ended.returncode, ended.stderr)
        return ended.returncode != 0

    def committed(self) -> Mapping[str | None, list[int]]:
        """Of each day the snapshots that added rows to it, ascending."""
        snapshots: dict[str | None, list[int]] = {}
        for entry in commits_since(self.lake, self.config.name, 0):
            for part in entry.touched:
                snapshots.setdefault(part.value, []).append(entry.snapshot_id)
        return snapshots

    def newest(self) -> Mapping[str | None, int]:
        """Of each day the last of them."""
        return {day: snapshots[-1] for day, snapshots in self.committed().items()}

    def check_told(self) -> None:
        """What is told is so; what is said to be told is told; and no day went back to an older version."""
        committed, told = self.committed(), versions(self.config, self.instance)
        for event in materializations(self.config, self.instance):
            assert int((event.tags or {})["dagster/data_version"]) in committed[event.partition]
        assert all(told[day] >= version for day, version in self.seen.items())
        self.seen = told
        through = history.published(self.instance, Names.of(self.config).table).through
        assert all(told[day] == newest for day, newest in self.newest().items() if newest <= through)


@pytest.fixture
def told(catalog: str, broker: EmbeddedBroker, tmp_path: Path, seed: int) -> Iterator[ToldLake]:
    config = killed_pipeline(tmp_path, broker.bootstrap_servers, catalog)
    home = tmp_path / "dagster"
    with Nursery(tmp_path, crash_run) as nursery, ExitStack() as opened, instance_in(home) as instance:
        yield ToldLake(config, three_days(seed), opened, nursery=nursery, home=home, instance=instance)


def test_what_a_killed_publisher_left_is_told_by_the_next(told: ToldLake, seed: int, score: Score) -> None:
    chance = random.Random(f"publication/{seed}")
    kills = 0
    assert not told.run()
    while kills < KILLS:
        kills += told.run(chance.randrange(EVENTS * kills // KILLS, EVENTS * (kills + 1) // KILLS))
        told.check()
        told.check_told()
    score(kills=kills)
    assert not told.run()
    told.check()
    told.check_told()
    shown = versions(told.config, told.instance)
    silent = sum(shown.get(day) != newest for day, newest in told.newest().items())
    damage = told.damage()
    score(silent=silent, **damage)
    assert (silent, damage) == (0, {"lost": 0, "duplicated": 0})
    assert check_states(told.config, told.instance) == dict.fromkeys(PIPELINE_CHECKS, True)
    for badge in partition_badges(told.config, told.instance).values():
        assert badge.latest_target_materialization_storage_id == badge.latest_materialization_storage_id
