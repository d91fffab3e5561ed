"""Runs of one lane killed one after the other, at labelled points: the lake is whole after each, and in the end too."""

import random
import re
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import pytest

from arrow_ingest.config import PipelineConfig
from arrow_ingest.demo.broker import EmbeddedBroker
from arrow_ingest.kafka.cluster import Cluster
from arrow_ingest.lake.ledger import commits_since
from arrow_ingest.lake.session import Lake, open_lake
from arrow_ingest.lake.verify import verify
from arrow_ingest.producer.events import EventGenerator
from arrow_ingest.values import Point
from arrow_ingest_tests.chaos.nursery import Nursery
from arrow_ingest_tests.chaos.scoreboard import Score
from arrow_ingest_tests.conftest import new_topic
from arrow_ingest_tests.lake_contents import (
    PARTITIONS,
    expected_rows,
    pipeline,
    produce,
    rows_in,
)

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1_200)]

KILLS = 15
PARTS = 3
"""Lakes per catalog. Points are taken in turn over all of them: 45 kills are each of nine points five times."""

MESSAGES = 5
"""Sent before each run; with a flush after each message a run makes two commits or more."""

ROWS = 10
POINTS = [point for point in Point if point is not Point.PUBLISHED]
"""All points of a drain; publishing is Dagster's (see `test_dagster_publication`)."""

_SNAPSHOT = re.compile(r"^flushed batch .* snapshot=(\d+) ", re.MULTILINE)


@dataclass
class Life:
    """One lake, and what its runs said before they ended.

    Args:
        nursery: where its runs come from.
        opened: gets the cluster and the session by which it is looked at.
    """

    config: PipelineConfig
    generator: EventGenerator
    nursery: Nursery
    opened: ExitStack
    sent: int = 0
    kills: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    crashes: int = 0
    acknowledged: set[int] = field(default_factory=set)

    def run(self, *arguments: str) -> None:
        """Send a few messages, then drain until the run is killed, or to the end."""
        produce(self.config, self.generator, range(self.sent, self.sent + MESSAGES), rows=ROWS)
        self.sent += MESSAGES
        ended = self.nursery.drain(self.config, *arguments)
        point, meant = (arguments[0], arguments[2]) if arguments else ("", "")
        self.acknowledged |= {int(number) for number in _SNAPSHOT.findall(ended.stdout)}
        is_killed = ended.returncode == -signal.SIGKILL and meant == "SIGKILL"
        is_whole = ended.returncode == 0
        # After SIGTERM, and where a point did not come up so often, a run ends in order.
        self.kills += is_killed or (is_whole and meant == "SIGTERM")
        self.ends[f"{meant} at {point}" if is_killed or meant == "SIGTERM" else "to its end"] += 1
        self.crashes += not (is_killed or is_whole)
        assert is_killed or is_whole, (arguments, ended.returncode, ended.stdout, ended.stderr)

    @cached_property
    def cluster(self) -> Cluster:
        """The broker, as it is asked after each end."""
        return self.opened.enter_context(Cluster(self.config.kafka))

    @cached_property
    def lake(self) -> Lake:
        """A session that only reads, which sees what there is after each end; the first run has made the lake."""
        return self.opened.enter_context(open_lake(self.config.lake, read_only=True))

    def check(self) -> None:
        """What holds after each end, before anything repairs anything: the invariants of `verify`, and receipts."""
        report = verify(self.lake, self.config, topic=self.cluster.topic_state, full=True)
        assert report.ok, report.findings
        landed = {entry.snapshot_id for entry in commits_since(self.lake, self.config.name, 0)}
        assert self.acknowledged <= landed
        strangers = [file for file in Path(self.config.lake.data_path).rglob("*.*") if not is_ours(file)]
        assert not strangers

    def damage(self) -> dict[str, int]:
        """Rows that are missing and rows that should not be there, by place and value."""
        found, expected = Counter(rows_in(self.lake)), Counter(expected_rows(self.generator, self.sent, rows=ROWS))
        return {"lost": (expected - found).total(), "duplicated": (found - expected).total()}


def is_ours(file: Path) -> bool:
    """Whether a file has a name that orphan removal knows a lane by."""
    return file.name.startswith("lane-0-") and file.suffix == ".parquet"


@pytest.fixture
def life(catalog: str, broker: EmbeddedBroker, tmp_path: Path, seed: int) -> Iterator[Life]:
    config = pipeline(
        tmp_path,
        broker.bootstrap_servers,
        new_topic(broker.bootstrap_servers, PARTITIONS),
        catalog=catalog,
        flush={"max_bytes": 1, "max_age_seconds": 5},
    )
    generator = EventGenerator(seed=seed, now=datetime(2026, 11, 20, 12, tzinfo=UTC), days=3)
    with Nursery(tmp_path) as nursery, ExitStack() as opened:
        yield Life(config, generator, nursery, opened)


@pytest.mark.parametrize("part", range(PARTS))
def test_a_lane_killed_time_and_again_loses_and_repeats_nothing(life: Life, seed: int, part: int, score: Score) -> None:
    chance = random.Random(f"kills/{seed}/{part}")
    try:
        life.run()
        while life.kills < KILLS and life.ends.total() < 2 * KILLS:
            # Each point in turn, so that none is left out; what varies is how often it was passed before, and how.
            point = POINTS[(part * KILLS + life.kills) % len(POINTS)]
            how = "SIGTERM" if chance.random() < 0.15 else "SIGKILL"
            life.run(point.value, str(chance.choice((1, 1, 2))), how)
            life.check()
        life.run()
        life.check()
        damage = life.damage()
    finally:
        score(kills=life.kills, crashes=life.crashes)
    score(**damage)
    assert damage == {"lost": 0, "duplicated": 0}
    assert life.kills == KILLS, life.ends
