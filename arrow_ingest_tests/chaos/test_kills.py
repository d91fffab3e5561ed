"""Runs of one lane killed one after the other, at every point: the lake is whole after each, and in the end too."""

import random
import re
import signal
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from arrow_ingest.demo.broker import EmbeddedBroker
from arrow_ingest.values import Point
from arrow_ingest_tests import crash_drain
from arrow_ingest_tests.chaos.killed_lake import KilledLake, killed_pipeline, three_days
from arrow_ingest_tests.chaos.nursery import Nursery
from arrow_ingest_tests.chaos.scoreboard import Score
from arrow_ingest_tests.crash_points import Call

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1_200)]

KILLS = 15
PARTS = 3
"""Lakes per catalog. Points are taken in turn over all of them."""

VISITS: Mapping[str, range] = {
    **{point: range(1, 3) for point in Point},
    Call.FSYNC: range(1, 10),
    Call.STATEMENT: range(1, 18),
}
"""Where a run can die, and at which of its visits there. It makes two commits or more, each with fsyncs and statements
of its own; where it does not come so often, it ends in order."""

_SNAPSHOT = re.compile(r"^flushed batch .* snapshot=(\d+) ", re.MULTILINE)


@dataclass
class Life(KilledLake):
    """One lake, and what its runs said before they ended.

    Args:
        nursery: where its runs come from.
    """

    nursery: Nursery = field(kw_only=True)
    kills: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    crashes: int = 0

    def run(self, *arguments: str) -> None:
        """Send a few messages, then drain until the run is killed, or to the end."""
        self.send()
        ended = self.nursery.run(self.config, *arguments)
        point, meant = (arguments[0], arguments[2]) if arguments else ("", "")
        self.acknowledged |= {int(number) for number in _SNAPSHOT.findall(ended.stdout)}
        is_killed = ended.returncode == -signal.SIGKILL and meant == "SIGKILL"
        is_whole = ended.returncode == 0
        # After SIGTERM, and where a point did not come up so often, a run ends in order.
        self.kills += is_killed or (is_whole and meant == "SIGTERM")
        self.ends[f"{meant} at {point}" if is_killed or meant == "SIGTERM" else "to its end"] += 1
        self.crashes += not (is_killed or is_whole)
        assert is_killed or is_whole, (arguments, ended.returncode, ended.stdout, ended.stderr)


@pytest.fixture
def life(catalog: str, broker: EmbeddedBroker, tmp_path: Path, seed: int) -> Iterator[Life]:
    config = killed_pipeline(tmp_path, broker.bootstrap_servers, catalog)
    with Nursery(tmp_path, crash_drain) as nursery, ExitStack() as opened:
        yield Life(config, three_days(seed), opened, nursery=nursery)


@pytest.mark.parametrize("part", range(PARTS))
def test_a_lane_killed_time_and_again_loses_and_repeats_nothing(life: Life, seed: int, part: int, score: Score) -> None:
    chance = random.Random(f"kills/{seed}/{part}")
    points = list(VISITS)
    try:
        life.run()
        while life.kills < KILLS and life.ends.total() < 2 * KILLS:
            # Each point in turn, so that none is left out; what varies is how often it was passed before, and how.
            point = points[(part * KILLS + life.kills) % len(points)]
            how = "SIGTERM" if chance.random() < 0.15 else "SIGKILL"
            life.run(point, str(chance.choice(VISITS[point])), how)
            life.check()
        life.run()
        life.check()
        damage = life.damage()
    finally:
        score(kills=life.kills, crashes=life.crashes)
    score(**damage)
    print(dict(life.ends))
    assert damage == {"lost": 0, "duplicated": 0}
    assert life.kills == KILLS, life.ends
