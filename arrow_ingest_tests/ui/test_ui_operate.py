"""Poison, late events, a thousand small files and a day to make anew, met by an operator in Dagster's UI."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from playwright.sync_api import expect

from arrow_ingest.components.names import Check
from arrow_ingest.producer.events import EventGenerator
from arrow_ingest_tests.alert_receiver import AlertReceiver
from arrow_ingest_tests.ui.backstage import Backstage
from arrow_ingest_tests.ui.conftest import LIMIT_ROWS
from arrow_ingest_tests.ui.desk import LOCATION, Desk
from arrow_ingest_tests.ui.old_lake import NEWEST_OLD_DAY, OLD_DAYS
from arrow_ingest_tests.ui.running_demo import RunningDemo, wait_for, write_settings

Shoot = Callable[[str], None]
Outcome = dict[str, object]

pytestmark = pytest.mark.timeout(600)

NOW = datetime.now(UTC)
LATE_ROWS = 7
POISON_ROWS = LIMIT_ROWS + 300

OLD = f"timestamp < TIMESTAMPTZ '{NOW - timedelta(days=NEWEST_OLD_DAY - 1):%Y-%m-%d} 00:00:00Z'"


def day_key(days_ago: int) -> str:
    return f"{NOW - timedelta(days=days_ago):%Y-%m-%d}"


LATE, QUIET = day_key(NEWEST_OLD_DAY + 3), day_key(NEWEST_OLD_DAY + 4)


def at_noon(day: str, rows: int) -> pa.RecordBatch:
    batch = EventGenerator(seed=11, now=NOW, days=1).batch(rows, rows)
    at = batch.schema.get_field_index("timestamp")
    return batch.set_column(at, batch.schema.field(at), pa.array([f"{day}T12:00:00Z"] * rows))


@dataclass(frozen=True, slots=True)
class Before:
    """How things were before the operator's day began: the late day's version by table, another day's in the model."""

    late: dict[str, str]
    quiet: str
    late_events: int


@pytest.fixture(scope="module")
def before(demo: RunningDemo, backstage: Backstage) -> Before:
    """Then it begins: late events and poison arrive together, so that what is waited for is waited for together."""
    for day in (LATE, QUIET):
        wait_for(lambda day=day: demo.version("events_daily", day), bool, seconds=300)
    found = Before(
        late={name: demo.version(name, LATE) for name in ("events_arrow", "events_daily")},
        quiet=demo.version("events_daily", QUIET),
        late_events=events_of(backstage, LATE),
    )
    backstage.send(at_noon(LATE, LATE_ROWS), *[at_noon(day_key(1), POISON_ROWS)] * 2)
    return found


def events_of(backstage: Backstage, day: str) -> int:
    """How many the model counted."""
    [(counted,)] = backstage.query(f"SELECT sum(events) FROM lake.main.events_daily WHERE day = DATE '{day}'")
    return int(counted)


@pytest.mark.usefixtures("before")
def test_poison_warns_once_and_its_replay_recovers_once(
    desk: Desk, backstage: Backstage, alerts: AlertReceiver, shoot: Shoot, outcome: Outcome
) -> None:
    def told(*, is_over: bool) -> list[str]:
        return [title for title in alerts.titles if Check.DEAD_LETTERS in title and ("recovered" in title) == is_over]

    wait_for(lambda: desk.demo.said_by(Check.DEAD_LETTERS), lambda seen: seen == "WARN", seconds=240)
    wait_for(lambda: told(is_over=False), bool, seconds=240)
    desk.page.goto(f"/assets/lake/main/events_arrow?view=checks&checkDetail={Check.DEAD_LETTERS}")
    expect(desk.page.get_by_text(re.compile("2 dead letters")).first).to_be_visible()
    shoot("dead-letters")

    write_settings(backstage.folder, limits="{max_rows: 1000000}")
    desk.reload()
    replay = desk.launch("replay_dead_letters_events_arrow", "replay_events_arrow", reasons=["too_many_rows"])
    desk.terminate_drains()  # the replay waits for the lane's run; it need not
    desk.expect_success(replay)
    wait_for(lambda: desk.demo.said_by(Check.DEAD_LETTERS), lambda seen: seen == "SUCCEEDED", seconds=240)
    wait_for(lambda: told(is_over=True), bool, seconds=240)
    desk.page.goto(f"/assets/lake/main/events_arrow?view=checks&checkDetail={Check.DEAD_LETTERS}")
    [(rows,)] = backstage.query(
        f"SELECT count(*) FROM lake.main.events_arrow WHERE timestamp = TIMESTAMPTZ '{day_key(1)} 12:00:00Z'"
    )
    assert rows == 2 * POISON_ROWS
    outcome["alerts_sent"], outcome["recovered_sent"] = len(told(is_over=False)), len(told(is_over=True))
    assert (outcome["alerts_sent"], outcome["recovered_sent"]) == (1, 1), alerts.titles
    desk.page.get_by_text("Execution history").click()
    expect(desk.page.get_by_text("Passed").first).to_be_visible()
    shoot("check-history")
    desk.page.goto(f"{LOCATION}/sensors/alerts_events_arrow_sensor")
    expect(desk.page.get_by_role("checkbox")).to_be_checked()
    shoot("alerts")


def test_a_late_event_makes_its_old_day_new_here_and_downstream(
    desk: Desk, backstage: Backstage, before: Before, shoot: Shoot, outcome: Outcome
) -> None:
    for name, fact in (("events_arrow", "late_day_rematerialised"), ("events_daily", "downstream_rematerialised")):
        wait_for(
            lambda name=name: desk.demo.version(name, LATE),
            lambda seen, name=name: seen != before.late[name],
            seconds=240,
        )
        outcome[fact] = True
    assert events_of(backstage, LATE) == before.late_events + LATE_ROWS
    assert desk.demo.version("events_daily", QUIET) == before.quiet
    desk.page.goto(f"/assets/lake/main/events_daily?view=partitions&partition={LATE}")
    expect(desk.page.get_by_text("source_snapshot").first).to_be_visible()
    shoot("late-day")


def test_maintenance_makes_a_thousand_files_few_and_nobody_notices(
    desk: Desk, backstage: Backstage, shoot: Shoot, outcome: Outcome
) -> None:
    def files() -> int:
        [(count,)] = backstage.query(f"SELECT count(DISTINCT filename) FROM lake.main.events_arrow WHERE {OLD}")
        return int(count)

    sums = f"SELECT count(*), sum(hash(uuid)) FROM lake.main.events_arrow WHERE {OLD}"
    many, rows = files(), backstage.query(sums)
    desk.expect_success(desk.launch("maintain_events_arrow", "maintain_table_events_arrow", only=["merge"]))
    few = files()
    outcome["files_before"], outcome["files_after"] = many, few
    assert many >= 1_000
    assert few <= 2 * OLD_DAYS
    assert backstage.query(sums) == rows
    assert all(run["status"] != "FAILURE" for run in desk.demo.runs())
    desk.page.goto("/assets/lake/main/events_arrow__maintenance")
    expect(desk.page.get_by_text("merge/milliseconds").first).to_be_visible()
    shoot("maintenance")


def test_a_day_that_is_rebuilt_has_the_same_rows(
    desk: Desk, backstage: Backstage, shoot: Shoot, outcome: Outcome
) -> None:
    day = day_key(2)
    [(last,)] = backstage.query("SELECT max(_kafka_offset) FROM lake.main.events_arrow WHERE _kafka_generation = 1")
    same = (
        "SELECT count(*), sum(hash(uuid, event, properties, timestamp, _kafka_partition, _kafka_offset, _kafka_row)) "
        f"FROM lake.main.events_arrow WHERE timestamp::DATE = DATE '{day}' AND _kafka_generation = 1 "
        f"AND _kafka_offset <= {last // 2}"
    )
    rows: list[Any] = backstage.query(same)
    assert rows[0][0] > 0
    rebuild = desk.launch("rebuild_events_arrow", "rebuild_partitions_events_arrow", partitions=[day])
    desk.terminate_drains()  # as the replay does, it waits for the lane's run
    desk.expect_success(rebuild)
    shoot("rebuild")
    outcome["rebuild_equal"] = backstage.query(same) == rows
    assert outcome["rebuild_equal"]
    [(snapshot,)] = backstage.query("SELECT max(snapshot_id) FROM ducklake_snapshots('lake')")
    # By whatever run: the lane's next one may begin while this one ends, and tells of its commit then.
    wait_for(lambda: desk.demo.version("events_arrow", day), lambda seen: int(seen) >= snapshot, seconds=240)
    verified = backstage.verify()
    outcome["rows_lost"] = len(verified)
    assert not verified
