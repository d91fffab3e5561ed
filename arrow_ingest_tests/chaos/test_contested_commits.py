"""Several writers start from one and the same row of a lane: one lands, the others are told, and no row comes twice."""

import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from arrow_ingest.config import PipelineConfig
from arrow_ingest.lake import lanes, ledger
from arrow_ingest.lake.commit import Committer
from arrow_ingest.lake.continuity import check_ledger
from arrow_ingest.lake.session import open_lake
from arrow_ingest.values import LaneState
from arrow_ingest_tests.chaos.contender import ROWS
from arrow_ingest_tests.chaos.scoreboard import Score
from arrow_ingest_tests.lake_writers import DAY, count_rows, micro_batch, new_lane, pipeline, plan, stage

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

WRITERS = 4
ROUNDS = 50
OPERATED = 0.4
"""The share of rounds in which one of the writers is no run but an operator, or maintenance."""

BESIDE = ("relayout", "rotate")
"""What does not start from the row as it was read: it lands in any case, before a commit or behind it."""


@pytest.fixture
def config(catalog: str, tmp_path: Path) -> PipelineConfig:
    lake = {"catalog": catalog, "data_path": str(tmp_path / "data"), "table": "events"}
    return pipeline(tmp_path, lake=lake, maintenance={"rotate_after": 1})


@pytest.fixture
def writers(config: PipelineConfig) -> Iterator[list["subprocess.Popen[str]"]]:
    command = [sys.executable, "-m", "arrow_ingest_tests.chaos.contender", config.model_dump_json(by_alias=True)]
    with open_lake(config.lake) as lake, Committer(config.lake) as committer:
        state, planned = new_lane(lake, config), plan(lake, config)
        committer.commit(micro_batch(config, state, planned, [stage(config, planned, [DAY] * ROWS)]))
    children = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(WRITERS)
    ]
    yield children
    for child in children:
        child.kill()
        child.communicate()


def answers(writers: Sequence["subprocess.Popen[str]"], *lines: str) -> list[str]:
    """What each writer answers to its line; all get theirs before any is waited for."""
    for writer, line in zip(writers, lines, strict=True):
        assert writer.stdin is not None
        writer.stdin.write(f"{line}\n")
        writer.stdin.flush()
    return [writer.stdout.readline().strip() if writer.stdout is not None else "" for writer in writers]


def actions(chance: random.Random, state: LaneState) -> list[str]:
    """What the writers of one round want."""
    if state.suspended is not None:
        return ["resume"] * WRITERS
    wanted = ["commit"] * WRITERS
    if chance.random() < OPERATED:
        # One lane of two is not rebased: no layout would have lanes that read different topics.
        wanted[0] = chance.choice(("suspend", *BESIDE, *(["rebase"] if state.layout == 1 else [])))
    chance.shuffle(wanted)
    return wanted


def is_as_it_should(wanted: Sequence[str], came: Sequence[str]) -> bool:
    """Whether of those that started from one row one landed, and the others were told.

    All are told if a new layout came first. A rotation changes nothing that the row says.
    """
    beside = [of for of, what in zip(came, wanted, strict=True) if what in BESIDE]
    contest = [of for of, what in zip(came, wanted, strict=True) if what not in BESIDE]
    landed = contest.count("landed")
    told = sum(of.startswith("LaneFenced: ") for of in contest)
    is_moved = "relayout" in wanted
    return landed + told == len(contest) and (landed == 1 or (is_moved and landed == 0)) and set(beside) <= {"landed"}


def test_of_the_writers_of_one_row_one_lands_and_the_others_are_told(
    config: PipelineConfig, writers: list["subprocess.Popen[str]"], seed: int, score: Score
) -> None:
    chance = random.Random(f"contest/{seed}")
    landed, silent, said = 1, 0, list[str]()
    with open_lake(config.lake) as lake:
        for _ in range(ROUNDS):
            state = lanes.read_lane(lake, config.name, 0)
            assert state is not None
            wanted = actions(chance, state)
            assert answers(writers, *wanted) == ["ready"] * WRITERS
            came = answers(writers, *[""] * WRITERS)
            landed += sum(of == "landed" and what == "commit" for of, what in zip(came, wanted, strict=True))
            silent += not is_as_it_should(wanted, came)
            said.append(", ".join(f"{what}: {of}" for of, what in zip(came, wanted, strict=True)))
        rows, states = count_rows(lake, config), lanes.read_all(lake, config.name)
        entries = ledger.commits_since(lake, config.name, 0)
    excess = rows - ROWS * landed
    crashes = sum(writer.poll() is not None for writer in writers)
    damage = {"lost": max(0, -excess), "duplicated": max(0, excess), "silent": silent, "crashes": crashes}
    score(contested_commits=WRITERS * ROUNDS, **damage)
    print(*said, sep="\n")
    assert not any(damage.values()), (damage, said)
    assert list(check_ledger(entries, [state for state in states if not state.is_retired])) == []
    assert sum(entry.tally.rows for entry in entries) == rows
