"""Dead letters that are tried again: each comes into the table once, whatever happens to the replay."""

import signal
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
from arrow_ingest.lake.session import open_lake
from arrow_ingest.lake.statistics import unresolved_letters
from arrow_ingest.lake.verify import verify
from arrow_ingest.pipeline.drain import drain
from arrow_ingest.pipeline.replay import Replayed, replay
from arrow_ingest.producer.arrow import ArrowProducer
from arrow_ingest.producer.events import EventGenerator
from arrow_ingest.stack.postgres import PostgresServer
from arrow_ingest.values import CommitKind, Point, Reason
from arrow_ingest_tests.lake_contents import (
    PARTITIONS,
    assert_holds_exactly,
    assert_verified,
    drained,
    pipeline,
    produce,
    query,
    repair_in_a_process,
)
from arrow_ingest_tests.no_locks import no_lane_locks
from arrow_ingest_tests.postgres_proxy import Fault, PostgresProxy

MESSAGES = 24
REFUSED = range(8, 16)
"""Messages that `refusing` does not take."""


@pytest.fixture
def generator() -> EventGenerator:
    return EventGenerator(seed=7, now=datetime(2026, 11, 20, 12, tzinfo=UTC), days=3)


@pytest.fixture
def config(tmp_path: Path, broker: Any, topic: Any, catalog: str) -> PipelineConfig:
    return pipeline(tmp_path, broker.bootstrap_servers, topic(partitions=PARTITIONS), catalog=catalog)


def refusing(config: PipelineConfig) -> PipelineConfig:
    """The same pipeline, whose limits are too small for what is sent."""
    return config.model_copy(update={"limits": config.limits.model_copy(update={"max_rows": 10})})


def fill(config: PipelineConfig, generator: EventGenerator, *, garbage: bool = False) -> None:
    """Messages 0 to 23, of which those of `REFUSED` become dead letters; and at last one that nothing can mend."""
    for indices, taken_by in ((range(8), config), (REFUSED, refusing(config)), (range(16, MESSAGES), config)):
        produce(config, generator, indices)
        drained(taken_by)
    if garbage:
        with ArrowProducer(config.kafka.topic, {"bootstrap.servers": config.kafka.bootstrap_servers}) as producer:
            producer.send_payload(b"not arrow", partition=1)
        drained(config)


def replayed(config: PipelineConfig, wanted: Wanted | None = None, **options: Any) -> Replayed:
    return replay(config, wanted or Wanted(), **{"run_id": "operator", "wait_seconds": 0, **options})


def unresolved(config: PipelineConfig) -> dict[str, int]:
    with open_lake(config.lake, read_only=True) as lake:
        return unresolved_letters(lake, config.name, config.lake)


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


def test_with_the_old_settings_a_replay_changes_nothing(config: PipelineConfig, generator: EventGenerator) -> None:
    fill(config, generator)
    outcome = replayed(refusing(config))
    assert (outcome.replayed, outcome.still_dead, outcome.receipt) == ({}, {"too_many_rows": len(REFUSED)}, None)
    assert unresolved(config) == {"too_many_rows": len(REFUSED)}
    assert_verified(config)


def test_chosen_letters_only_and_a_dry_run_none(config: PipelineConfig, generator: EventGenerator) -> None:
    fill(config, generator, garbage=True)
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
    config: PipelineConfig, generator: EventGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the locks, which save work; the claim and the events are what keeps rows from coming twice."""
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


@pytest.mark.parametrize(
    "point",
    [
        Point.FETCHED,
        Point.DECODED,
        Point.STAGED,
        Point.BEGUN,
        Point.FENCED,
        Point.FILES_ADDED,
        Point.LEDGER_WRITTEN,
        Point.COMMITTED,
    ],
)
def test_kill_at_labelled_point_loses_and_repeats_nothing(
    config: PipelineConfig, generator: EventGenerator, point: Point
) -> None:
    fill(config, generator)
    crashed = repair_in_a_process(config, "replay", point.value)
    assert crashed.returncode == -signal.SIGKILL, crashed.stderr
    replayed(config)
    assert_holds_exactly(config, generator, MESSAGES)
    assert_verified(config)
    assert unresolved(config) == {}


@pytest.mark.parametrize("catalog", [pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True)
@pytest.mark.parametrize("fault", [Fault.COMMIT_LOST, Fault.ANSWER_LOST])
def test_lost_commit_or_answer_replays_once(
    config: PipelineConfig, postgres: PostgresServer, generator: EventGenerator, fault: Fault
) -> None:
    fill(config, generator)
    dsn = config.lake.catalog.removeprefix("postgres:")
    with PostgresProxy(postgres.port, fault) as proxy:
        through = dsn.replace(f"port={postgres.port}", f"port={proxy.port}")
        proxied = config.model_copy(update={"lake": config.lake.model_copy(update={"catalog": f"postgres:{through}"})})
        first = repair_in_a_process(proxied, "replay")
        assert proxy.happened.is_set(), (first.stdout, first.stderr)
        # DuckDB may abort when its server vanishes amid a transaction (FACTS); then a second replay finishes it.
        if first.returncode != 0:
            second = repair_in_a_process(proxied, "replay")
            assert second.returncode == 0, (first.stdout, first.stderr, second.stdout, second.stderr)
    assert_holds_exactly(config, generator, MESSAGES)
    assert_verified(config)
    assert unresolved(config) == {}


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

    assert expired(datetime.now(UTC) - timedelta(days=1)) == (0, 0)
    now = datetime.now(UTC)
    assert expired(now, Wanted(reasons=(Reason.FRAMING,))) == (1, 1)
    assert expired(now)[0] == len(REFUSED) - 2
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
