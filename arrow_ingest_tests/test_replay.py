"""Dead letters that are tried again: each comes into the table once, whatever happens to the replay."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from arrow_ingest.config import PipelineConfig
from arrow_ingest.errors import LaneBusy
from arrow_ingest.lake import letter_events
from arrow_ingest.lake.dead_letter_query import Wanted
from arrow_ingest.lake.ledger import commits_since
from arrow_ingest.lake.letter_events import EVENTS
from arrow_ingest.lake.letter_expiry import expire_letters
from arrow_ingest.lake.maintenance.report import Outcome
from arrow_ingest.lake.maintenance.run import maintain
from arrow_ingest.lake.session import open_lake
from arrow_ingest.lake.verify import verify
from arrow_ingest.maintenance_settings import Step
from arrow_ingest.message_policy import DeadLetters
from arrow_ingest.pipeline.drain import drain
from arrow_ingest.pipeline.replay import Replayed
from arrow_ingest.producer.events import EventGenerator
from arrow_ingest.values import CommitKind, Point, Reason
from arrow_ingest_tests.lake_contents import (
    PARTITIONS,
    assert_holds_exactly,
    assert_verified,
    drained,
    pipeline,
    produce,
    query,
)
from arrow_ingest_tests.no_locks import no_lane_locks
from arrow_ingest_tests.repairs import (
    MESSAGES,
    REFUSED,
    event_generator,
    fill,
    refusing,
    replayed,
    unresolved,
)


@pytest.fixture
def generator() -> EventGenerator:
    return event_generator()


@pytest.fixture
def config(tmp_path: Path, broker: Any, topic: Any) -> PipelineConfig:
    return pipeline(tmp_path, broker.bootstrap_servers, topic(partitions=PARTITIONS))


def test_replayed_letters_are_rows_once_and_what_is_refused_still_stays(
    config: PipelineConfig, generator: EventGenerator
) -> None:
    fill(config, generator, garbage=True)
    assert unresolved(config) == {"framing": 1, "too_many_rows": len(REFUSED)}
    first = replayed(config)
    assert (first.replayed, first.still_dead) == ({"too_many_rows": len(REFUSED)}, {"framing": 1})
    assert first.rows == len(REFUSED) * 50
    assert_holds_exactly(config, generator, MESSAGES)
    assert_verified(config)
    assert unresolved(config) == {"framing": 1}
    second = replayed(config)
    assert (second.replayed, second.receipt) == ({}, None)
    assert_holds_exactly(config, generator, MESSAGES)
    with open_lake(config.lake, read_only=True) as lake:
        entry = commits_since(lake, config.name, 0)[-1]
        assert first.receipt is not None
        assert (entry.kind, entry.commit_id, entry.ranges) == (CommitKind.REPLAY, first.receipt.commit_id, ())
        assert (entry.tally.messages, entry.tally.rows, entry.tally.dead) == (len(REFUSED), len(REFUSED) * 50, 0)
        spans = letter_events.read_spans(lake, config.name)
    assert {span.commit_id for span in spans} == {entry.commit_id}
    assert sum(span.count for span in spans) == len(REFUSED)


def test_letters_alone_make_the_table(config: PipelineConfig, generator: EventGenerator) -> None:
    produce(config, generator, range(4))
    drained(refusing(config))
    assert replayed(config).rows == 4 * 50
    assert_holds_exactly(config, generator, 4)
    assert_verified(config)


def test_chosen_letters_only_and_a_dry_run_or_the_old_settings_none(
    config: PipelineConfig, generator: EventGenerator
) -> None:
    fill(config, generator, garbage=True)
    outcome = replayed(refusing(config))
    assert (outcome.replayed, outcome.receipt) == ({}, None)
    assert outcome.still_dead == {"framing": 1, "too_many_rows": len(REFUSED)}
    assert replayed(config, is_dry_run=True).replayed == {"too_many_rows": len(REFUSED)}
    assert replayed(config, Wanted(reasons=(Reason.FRAMING,))).still_dead == {"framing": 1}
    assert replayed(config, Wanted(since=datetime.now(UTC) + timedelta(hours=1))).replayed == {}
    assert unresolved(config)["too_many_rows"] == len(REFUSED)
    assert replayed(config, Wanted(limit=3)).replayed == {"too_many_rows": 3}
    assert_verified(config)
    replayed(config)
    assert_holds_exactly(config, generator, MESSAGES)
    assert_verified(config)


def test_a_lane_that_drains_makes_the_replay_wait_and_is_told_when_it_takes_too_long(
    config: PipelineConfig, generator: EventGenerator
) -> None:
    fill(config, generator)
    produce(config, generator, range(MESSAGES, 32))
    running = drain(config, run_id="a-drain")
    next(running)
    with pytest.raises(LaneBusy, match="a-drain"):
        replayed(config)
    running.close()
    replayed(config)
    drained(config)
    assert_holds_exactly(config, generator, 32)
    assert_verified(config)


def test_of_two_replays_at_once_one_finds_what_the_other_did(
    config: PipelineConfig, catalog: str, generator: EventGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the locks, which save work; the claim and the events are what keeps rows from coming twice."""
    config = config.model_copy(update={"lake": config.lake.model_copy(update={"catalog": catalog})})
    fill(config, generator)
    monkeypatch.setattr("arrow_ingest.pipeline.replay.holding_lanes", no_lane_locks)
    raced: list[Replayed] = []

    def at(point: Point) -> None:
        if point is Point.STAGED and not raced:
            raced.append(Replayed())
            raced.append(replayed(config))

    outcome = replayed(config, at=at)
    assert (len(raced), sum(raced[1].replayed.values())) == (2, len(REFUSED))
    assert outcome.receipt is None
    assert_holds_exactly(config, generator, MESSAGES)
    assert_verified(config)


def test_a_lake_made_before_there_were_events_takes_them(config: PipelineConfig, generator: EventGenerator) -> None:
    fill(config, generator)
    with open_lake(config.lake) as lake, lake.transaction():
        lake.execute(f"DROP TABLE {EVENTS}")
    assert_verified(config)
    assert unresolved(config) == {"too_many_rows": len(REFUSED)}
    assert replayed(config, is_dry_run=True).replayed == {"too_many_rows": len(REFUSED)}
    replayed(config)
    assert_holds_exactly(config, generator, MESSAGES)
    assert_verified(config)


def test_what_expires_is_given_up_and_its_files_leave_the_table_whole(
    config: PipelineConfig, generator: EventGenerator
) -> None:
    fill(config, generator, garbage=True)
    letters = "lake.main.events__dead_letters"
    replayed(config, Wanted(limit=2))

    def expired(before: datetime, wanted: Wanted | None = None) -> tuple[int, int]:
        with open_lake(config.lake) as lake:
            done = expire_letters(lake, config, wanted or Wanted(), before=before, run_id="operator")
        return done.letters, done.files

    def tidied(now: datetime, *, is_dry_run: bool = False) -> tuple[Outcome, Mapping[str, int]]:
        [done] = maintain(config, run_id="operator", now=now, only=[Step.LETTERS], is_dry_run=is_dry_run).steps
        return done.outcome, done.numbers

    assert expired(datetime.now(UTC) - timedelta(days=1)) == (0, 0)
    now = datetime.now(UTC)
    assert expired(now, Wanted(reasons=(Reason.FRAMING,))) == (1, 1)
    assert tidied(now) == (Outcome.NOTHING, {})
    config = config.model_copy(update={"dead_letters": DeadLetters(keep_days=1)})
    assert tidied(now) == (Outcome.NOTHING, {"letters": 0, "files": 0})
    assert tidied(now + timedelta(days=1), is_dry_run=True)[1]["letters"] == len(REFUSED) - 2
    outcome, numbers = tidied(now + timedelta(days=1))
    assert (outcome, numbers["letters"]) == (Outcome.DONE, len(REFUSED) - 2)
    assert query(config, f"SELECT count(*) AS n FROM {letters}").to_pylist() == [{"n": 0}]
    assert not list(Path(config.lake.data_path).rglob("*-delete.parquet"))
    assert unresolved(config) == {}
    assert replayed(config) == Replayed()
    assert_verified(config)
    assert expired(now) == (0, 0)


def test_verify_tells_a_replayed_row_that_is_gone_and_one_that_came_twice(
    config: PipelineConfig, generator: EventGenerator
) -> None:
    fill(config, generator)
    replayed(config)
    replay_only = "_kafka_offset = 2 AND _kafka_partition = 0"
    with open_lake(config.lake) as lake:
        lake.execute(f"INSERT INTO lake.main.events FROM lake.main.events WHERE {replay_only} AND _kafka_row = 3")
        assert [finding.code.value for finding in verify(lake, config).findings] == ["duplicate_rows"]
        lake.execute(f"DELETE FROM lake.main.events WHERE {replay_only}")
        [finding] = verify(lake, config).findings
    assert finding.code.value == "rows_deleted"
    assert "50 rows" in finding.detail
