"""Thousands of histories of the commit protocol, with faults at every statement; see `commit_protocol`."""

from collections import Counter
from pathlib import Path

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from arrow_ingest_tests.chaos.commit_protocol import CommitProtocol
from arrow_ingest_tests.chaos.scoreboard import Score

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900)]

HISTORIES = 2_000
PARTS = 10
STEPS = 10


@pytest.mark.parametrize("part", range(PARTS))
def test_no_history_loses_or_repeats_a_row_or_keeps_quiet(seed: int, part: int, tmp_path: Path, score: Score) -> None:
    class Seeded(CommitProtocol):
        folder = tmp_path

    Seeded.histories, Seeded.damage = 0, Counter()
    try:
        run_state_machine_as_test(  # type: ignore[no-untyped-call]
            hypothesis.seed(seed * PARTS + part)(Seeded),
            settings=settings(
                max_examples=HISTORIES // PARTS,
                stateful_step_count=STEPS,
                database=None,
                deadline=None,
                phases=[Phase.generate, Phase.shrink],
                suppress_health_check=list(HealthCheck),
            ),
        )
    finally:
        score(histories=Seeded.histories, **Seeded.damage)
    assert Seeded.histories >= HISTORIES // PARTS
