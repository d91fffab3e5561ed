"""What each check answers to which evidence."""

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arrow_ingest.components.names import PIPELINE_CHECKS, Check
from arrow_ingest.components.verdicts import (
    MAX_COMMIT_AGE,
    MAX_LAG_MESSAGES,
    Evidence,
    Severity,
    Verdict,
    offsets_contiguous,
    pipeline_verdicts,
    rows_accounted_for,
)
from arrow_ingest.config import PipelineConfig
from arrow_ingest.errors import SuspendReason
from arrow_ingest.lake.ledger import LedgerEntry, PartitionTotal
from arrow_ingest.values import (
    CommitKind,
    LaneState,
    OffsetRange,
    Position,
    Tally,
    TopicState,
    TouchedPartition,
)

NOW = datetime(2026, 3, 1, tzinfo=UTC)
DAY = "2026-03-01"


def entry(snapshot_id: int, start: int, stop: int, *, generation: int = 0, **tally: int) -> LedgerEntry:
    messages = stop - start
    return LedgerEntry(
        commit_id=f"commit-{snapshot_id}",
        pipeline="events",
        lane=0,
        generation=generation,
        topic_id=f"topic-{generation}",
        ranges=(OffsetRange(0, start, stop),),
        tally=Tally(**{"messages": messages, "rows": messages, **tally}),
        touched=(TouchedPartition(DAY, messages, 1, 1),),
        kind=CommitKind.INGEST,
        run_id="run",
        committed_at=NOW,
        snapshot_id=snapshot_id,
    )


def lane(offset: int, *, generation: int = 0) -> LaneState:
    return LaneState("events", 0, 1, generation, f"topic-{generation}", {0: Position(offset)})


HEALTHY = Evidence(
    now=NOW,
    lanes=(lane(9),),
    topic=TopicState("events", "topic-0", low={0: 0}, high={0: 9}),
    commits=(entry(1, 0, 5), entry(2, 5, 9)),
    last_commit_at=NOW,
    added_columns=(),
    refused=0,
    declared=frozenset([DAY]),
)


@pytest.fixture
def config(tmp_path: Path) -> PipelineConfig:
    return PipelineConfig.model_validate(
        {
            "name": "events",
            "kafka": {"topic": "events", "bootstrap_servers": "127.0.0.1:1"},
            "lake": {"catalog": f"{tmp_path}/catalog.sqlite", "data_path": f"{tmp_path}", "table": "events"},
            "dead_letters": {"max_share": 0.1, "max_per_run": 2},
        }
    )


def failed(config: PipelineConfig, evidence: Evidence) -> dict[Check, Verdict]:
    return {verdict.check: verdict for verdict in pipeline_verdicts(config, evidence) if not verdict.passed}


def test_every_check_answers_once_and_a_healthy_pipeline_passes(config: PipelineConfig) -> None:
    assert sorted(verdict.check for verdict in pipeline_verdicts(config, HEALTHY)) == sorted(PIPELINE_CHECKS)
    assert failed(config, HEALTHY) == {}


@pytest.mark.parametrize(
    ("change", "check", "severity", "says"),
    [
        ({"commits": (entry(1, 0, 5), entry(2, 6, 9))}, Check.OFFSETS_CONTIGUOUS, Severity.ERROR, "6 follows 5"),
        ({"commits": (entry(1, 0, 5), entry(2, 4, 9))}, Check.OFFSETS_CONTIGUOUS, Severity.ERROR, "4 follows 5"),
        ({"commits": (entry(1, 0, 5),)}, Check.OFFSETS_CONTIGUOUS, Severity.ERROR, "ends at 5, the lane's row at 9"),
        ({"commits": (entry(2, 5, 9, rows=3),)}, Check.OFFSETS_CONTIGUOUS, Severity.ERROR, "4 messages, but 3 rows"),
        (
            {"lanes": (replace(lane(9), suspended=SuspendReason.LOG_TRUNCATED, reason="gone"),)},
            Check.NOT_SUSPENDED,
            Severity.ERROR,
            "lane 0 is suspended (log_truncated): gone",
        ),
        (
            {"unresolved": {"cast": 2, "framing": 1}},
            Check.DEAD_LETTERS,
            Severity.WARN,
            "3 dead letters wait (2 cast, 1",
        ),
        (
            {"commits": (entry(2, 5, 9, dead=1, rows=3),), "unresolved": {"cast": 1}},
            Check.DEAD_LETTERS,
            Severity.WARN,
            "1 of the 4 messages",
        ),
        (
            {"commits": (entry(2, 5, 9, dead=3, rows=1),), "unresolved": {"cast": 3}},
            Check.DEAD_LETTERS,
            Severity.ERROR,
            "3 of the 4 messages",
        ),
        (
            {"topic": TopicState("events", "topic-0", low={0: 0}, high={0: 10 + MAX_LAG_MESSAGES})},
            Check.LAG,
            Severity.WARN,
            "1001 messages behind",
        ),
        ({"topic": None}, Check.LAG, Severity.WARN, "the broker did not answer"),
        ({"added_columns": ("browser",)}, Check.SCHEMA_DRIFT, Severity.WARN, "added: browser"),
        ({"refused": 2}, Check.SCHEMA_DRIFT, Severity.WARN, "2 messages refused"),
        ({"declared": frozenset()}, Check.OUT_OF_RANGE_DAYS, Severity.WARN, "2026-03-01: 9 rows"),
    ],
)
def test_one_fault_fails_one_check_and_says_what_it_is(
    config: PipelineConfig, change: dict[str, object], check: Check, severity: Severity, says: str
) -> None:
    verdicts = failed(config, replace(HEALTHY, **change))
    assert list(verdicts) == [check]
    assert verdicts[check].severity == severity
    assert says in verdicts[check].says


def test_dead_letters_that_were_replayed_are_no_fault_any_more(config: PipelineConfig) -> None:
    read = (entry(1, 0, 5), entry(2, 5, 9, dead=1, rows=3))
    replayed = replace(entry(3, 0, 0), kind=CommitKind.REPLAY, ranges=(), tally=Tally(messages=1, rows=1))
    evidence = replace(HEALTHY, commits=(*read, replayed))
    assert failed(config, evidence) == {}
    assert evidence.tally.messages == 9


@pytest.mark.parametrize(
    ("high", "age", "is_fresh"),
    [(10, MAX_COMMIT_AGE, True), (10, MAX_COMMIT_AGE + timedelta(seconds=1), False), (9, timedelta(days=9), True)],
    ids=["lately", "too long ago", "nothing to do"],
)
def test_freshness_is_the_age_of_the_last_commit_while_there_is_work(
    config: PipelineConfig, high: int, age: timedelta, is_fresh: bool
) -> None:
    topic = TopicState("events", "topic-0", low={0: 0}, high={0: high})
    evidence = replace(HEALTHY, topic=topic, last_commit_at=NOW - age)
    assert (Check.FRESHNESS not in failed(config, evidence)) == is_fresh


@given(stops=st.lists(st.integers(1, 50), unique=True, min_size=1), since=st.integers(0, 50))
def test_any_split_of_a_range_into_commits_is_contiguous_from_wherever_one_looks(stops: list[int], since: int) -> None:
    bounds = [0, *sorted(stops)]
    commits = [entry(number, start, stop) for number, (start, stop) in enumerate(itertools.pairwise(bounds))]
    assert offsets_contiguous(commits[since:], [lane(bounds[-1])]).passed


def test_a_new_generation_begins_anew() -> None:
    commits = [entry(1, 0, 5), entry(2, 0, 3, generation=1)]
    assert offsets_contiguous(commits, [lane(3, generation=1)]).passed


@pytest.mark.parametrize(("in_table", "passed"), [(5, True), (4, False), (6, False)])
def test_rows_in_the_table_are_compared_with_the_ledger(in_table: int, passed: bool) -> None:
    verdict = rows_accounted_for(DAY, {DAY: PartitionTotal(5, 1, 1, 1)}, {DAY: in_table})
    assert (verdict.passed, verdict.partition) == (passed, DAY)


def test_a_partition_that_nobody_knows_has_no_rows() -> None:
    assert rows_accounted_for(DAY, {}, {}).passed
