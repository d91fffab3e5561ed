"""Damaged payloads on the whole way into a lake: no process dies, and what is accepted is read back as it was sent."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from arrow_ingest_tests.chaos.scoreboard import Score

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
MUTANTS = 20_000
PARTS = 8
MOST_DEATHS = 5
"""After so many in one part, nothing new is learnt from more."""


def run_child(seed: int, first: int, stop: int, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Take mutants ``[first, stop)`` of a seed into a lake, in a process of its own."""
    folder.mkdir()
    arguments = [str(argument) for argument in (seed, first, stop, folder)]
    command = [sys.executable, "-m", "arrow_ingest_tests.chaos.mutant_child", *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=600, cwd=ROOT)


@pytest.mark.parametrize("part", range(PARTS))
def test_mutants_are_refused_or_read_back_as_they_were_sent(seed: int, part: int, tmp_path: Path, score: Score) -> None:
    first, stop = part * MUTANTS // PARTS, (part + 1) * MUTANTS // PARTS
    outcomes: Counter[str] = Counter()
    wrong: list[str] = []
    deaths: list[str] = []
    at = first
    while at < stop and len(deaths) < MOST_DEATHS:
        folder = tmp_path / str(at)
        child = run_child(seed, at, stop, folder)
        if child.returncode == 0:
            report = json.loads(child.stdout)
            outcomes.update(report["outcomes"])
            wrong += report["wrong"]
            break
        culprit = int((folder / "at").read_bytes())
        deaths.append(f"seed {seed}, mutant {culprit}: exit code {child.returncode}\n{child.stderr[-2000:]}")
        outcomes["killed"] += culprit + 1 - at
        at = culprit + 1

    score(mutants=outcomes.total(), crashes=len(deaths))
    assert not deaths, "\n".join(deaths)
    assert not wrong, "\n".join(wrong)
    assert outcomes.total() == stop - first
    # Otherwise the mutations say nothing: they must reach every line of defence, and get past all of them too.
    assert outcomes["accepted"] > (stop - first) / 20
    assert len(outcomes) > 6, outcomes
