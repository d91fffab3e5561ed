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
from arrow_ingest_tests.chaos.contender import ROWS
from arrow_ingest_tests.chaos.scoreboard import Score
from arrow_ingest_tests.lake_writers import DAY, count_rows, micro_batch, new_lane, pipeline, plan, stage

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

WRITERS = 4
ROUNDS = 50
OPERATED = 0.3
"""The share of rounds in which one of the writers is no run but an operator."""


@pytest.fixture
def config(catalog: str, tmp_path: Path) -> PipelineConfig:
    lake = {"catalog": catalog, "data_path": str(tmp_path / "data"), "table": "events"}
    return pipeline(tmp_path, lake=lake)


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


def actions(chance: random.Random, *, is_suspended: bool) -> list[str]:
    """What the writers of one round want."""
    if is_suspended:
        return ["resume"] * WRITERS
    wanted = ["commit"] * WRITERS
    if chance.random() < OPERATED:
        wanted[0] = chance.choice(("suspend", "rebase"))
    chance.shuffle(wanted)
    return wanted


def test_of_the_writers_of_one_row_one_lands_and_the_others_are_told(
    config: PipelineConfig, writers: list["subprocess.Popen[str]"], seed: int, score: Score
) -> None:
    chance = random.Random(f"contest/{seed}")
    landed, told, said = 1, 0, list[str]()
    with open_lake(config.lake) as lake:
        for _ in range(ROUNDS):
            state = lanes.read_lane(lake, config.name, 0)
            assert state is not None
            wanted = actions(chance, is_suspended=state.suspended is not None)
            assert answers(writers, *wanted) == ["ready"] * WRITERS
            came = answers(writers, *[""] * WRITERS)
            landed += sum(of == "landed" and what == "commit" for of, what in zip(came, wanted, strict=True))
            told += sum(of.startswith("LaneFenced: ") for of in came)
            said.append(", ".join(f"{what}: {of}" for of, what in zip(came, wanted, strict=True)))
        rows, state = count_rows(lake, config), lanes.read_lane(lake, config.name, 0)
        entries = ledger.commits_since(lake, config.name, 0)
    excess = rows - ROWS * landed
    silent = ROUNDS * (WRITERS - 1) - told
    crashes = sum(writer.poll() is not None for writer in writers)
    damage = {"lost": max(0, -excess), "duplicated": max(0, excess), "silent": silent, "crashes": crashes}
    score(contested_commits=WRITERS * ROUNDS, **damage)
    assert not any(damage.values()), (damage, said)
    assert all(of.count("landed") == 1 for of in said), said
    assert state is not None
    assert list(check_ledger(entries, [state])) == []
    assert sum(entry.tally.rows for entry in entries) == rows
