"""Late events, poison, a thousand small files and a damaged day, met by an operator in Dagster's UI."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from playwright.sync_api import expect

from arrow_ingest.components.names import Check
from arrow_ingest.producer.events import EventGenerator
from arrow_ingest_tests.alert_receiver import AlertReceiver
from arrow_ingest_tests.operate.desk import Desk
from arrow_ingest_tests.operate.old_lake import NEWEST_OLD_DAY, OLD_DAYS
from arrow_ingest_tests.ui.running_demo import Node, RunningDemo, is_computed, numbers, pairs, wait_for

Shoot = Callable[[str], None]
Outcome = dict[str, object]

pytestmark = pytest.mark.timeout(600)

NOW = datetime.now(UTC)
LATE_ROWS = 7
POISON_ROWS = 1_500
LIMIT_ROWS = 1_200
"""The producer's messages have 1,000 rows."""

OLD = f"timestamp < TIMESTAMPTZ '{NOW - timedelta(days=NEWEST_OLD_DAY - 1):%Y-%m-%d} 00:00:00Z'"


def day_key(days_ago: int) -> str:
    return f"{NOW - timedelta(days=days_ago):%Y-%m-%d}"


def at_noon(days_ago: int, rows: int) -> pa.RecordBatch:
    batch = EventGenerator(seed=11, now=NOW, days=1).batch(days_ago, rows)
    at = batch.schema.get_field_index("timestamp")
    return batch.set_column(at, batch.schema.field(at), pa.array([f"{day_key(days_ago)}T12:00:00Z"] * rows))


def version_of(table: Node, day: str) -> str:
    """The newest data version of a table's day; empty: it was never materialised."""
    found = (event for event in table["assetMaterializations"] if event["partition"] == day)
    newest = next(found, None)  # Dagster tells the newest first
    return pairs(newest["tags"])["dagster/data_version"] if newest else ""


def status_of(table: Node, check: Check) -> str:
    found = {each["name"]: each["executionForLatestMaterialization"] for each in table["assetChecksOrError"]["checks"]}
    return str((found[check] or {}).get("status"))


def test_a_late_event_makes_its_old_day_new_here_and_downstream(
    desk: Desk, demo: RunningDemo, shoot: Shoot, outcome: Outcome
) -> None:
    late, untouched = day_key(NEWEST_OLD_DAY + 3), day_key(NEWEST_OLD_DAY + 4)
    desk.edit(
        run="{max_run_seconds: 30, linger_seconds: 5}", flush="{max_age_seconds: 5}", dead_letters="{max_share: 1.0}",
        limits=f"{{max_rows: {LIMIT_ROWS}}}",
    )  # fmt: skip
    desk.terminate_drains()
    wait_for(lambda: demo.table("events_daily"), is_computed, seconds=240)
    model = wait_for(lambda: demo.table("events_daily"), lambda seen: version_of(seen, late) != "", seconds=240)
    before = {name: version_of(demo.table(name), late) for name in ("events_arrow", "events_daily")}
    quiet = version_of(model, untouched)
    [(counted,)] = desk.query(f"SELECT sum(events) FROM lake.main.events_daily WHERE day = DATE '{late}'")

    desk.send(at_noon(NEWEST_OLD_DAY + 3, LATE_ROWS))
    wait_for(demo.table, lambda seen: version_of(seen, late) != before["events_arrow"], seconds=120)
    outcome["late_day_rematerialised"] = True
    wait_for(
        lambda: demo.table("events_daily"), lambda seen: version_of(seen, late) != before["events_daily"], seconds=240
    )
    [(now,)] = desk.query(f"SELECT sum(events) FROM lake.main.events_daily WHERE day = DATE '{late}'")
    assert now == counted + LATE_ROWS
    assert version_of(demo.table("events_daily"), untouched) == quiet
    outcome["downstream_rematerialised"] = True
    desk.page.goto(f"/assets/lake/main/events_daily?view=partitions&partition={late}")
    expect(desk.page.get_by_text("source_snapshot").first).to_be_visible()
    shoot("late-day")


def test_poison_warns_once_and_its_replay_recovers_once(
    desk: Desk, demo: RunningDemo, alerts: AlertReceiver, shoot: Shoot, outcome: Outcome
) -> None:
    def told(word: str) -> list[str]:
        return [
            title for title in alerts.titles if Check.DEAD_LETTERS in title and (("recovered" in title) == bool(word))
        ]

    for _ in range(2):
        desk.send(at_noon(1, POISON_ROWS))
    wait_for(demo.table, lambda seen: status_of(seen, Check.DEAD_LETTERS) == "FAILED", seconds=120)
    wait_for(lambda: told(""), bool, seconds=90)
    desk.page.goto(f"/assets/lake/main/events_arrow?view=checks&checkDetail={Check.DEAD_LETTERS}")
    expect(desk.page.get_by_text(re.compile("2 dead letters")).first).to_be_visible()
    shoot("dead-letters")

    desk.edit(limits="{max_rows: 1000000}")
    desk.launch("replay_dead_letters_events_arrow", "replay_events_arrow", reasons=["too_many_rows"])
    wait_for(demo.table, lambda seen: status_of(seen, Check.DEAD_LETTERS) == "SUCCEEDED", seconds=120)
    wait_for(lambda: told("recovered"), bool, seconds=90)
    [(rows,)] = desk.query(
        f"SELECT count(*) FROM lake.main.events_arrow WHERE timestamp = TIMESTAMPTZ '{day_key(1)} 12:00:00Z'"
    )
    assert rows == 2 * POISON_ROWS
    outcome["alerts_sent"], outcome["recovered_sent"] = len(told("")), len(told("recovered"))
    assert (outcome["alerts_sent"], outcome["recovered_sent"]) == (1, 1), alerts.titles


def test_maintenance_makes_a_thousand_files_few_and_nobody_notices(
    desk: Desk, demo: RunningDemo, shoot: Shoot, outcome: Outcome
) -> None:
    def files() -> int:
        [(count,)] = desk.query(f"SELECT count(DISTINCT filename) FROM lake.main.events_arrow WHERE {OLD}")
        return int(count)

    sums = f"SELECT count(*), sum(hash(uuid)) FROM lake.main.events_arrow WHERE {OLD}"
    before, rows = files(), desk.query(sums)
    done = desk.launch("maintain_events_arrow", "maintain_table_events_arrow", only=["merge"])
    after = files()
    outcome["files_before"], outcome["files_after"] = before, after
    assert before >= 1_000
    assert after <= 2 * OLD_DAYS
    assert desk.query(sums) == rows
    assert all(run["status"] != "FAILURE" for run in demo.runs())
    desk.page.goto(f"/runs/{done}")
    expect(desk.page.get_by_text("Success", exact=True).first).to_be_visible()
    desk.page.goto("/assets/lake/main/events_arrow__maintenance")
    expect(desk.page.get_by_text("merge/milliseconds").first).to_be_visible()
    shoot("maintenance")


def test_a_day_that_is_rebuilt_has_the_same_rows(desk: Desk, demo: RunningDemo, shoot: Shoot, outcome: Outcome) -> None:
    day = day_key(2)
    [(last,)] = desk.query("SELECT max(_kafka_offset) FROM lake.main.events_arrow WHERE _kafka_generation = 1")
    same = (
        "SELECT count(*), sum(hash(uuid, event, properties, timestamp, _kafka_partition, _kafka_offset, _kafka_row)) "
        f"FROM lake.main.events_arrow WHERE timestamp::DATE = DATE '{day}' AND _kafka_generation = 1 "
        f"AND _kafka_offset <= {last // 2}"
    )
    before: list[Any] = desk.query(same)
    assert before[0][0] > 0
    desk.terminate_drains()  # a rebuild waits for the lane's run; this one need not
    done = desk.launch("rebuild_events_arrow", "rebuild_partitions_events_arrow", partitions=[day])
    outcome["rebuild_equal"] = desk.query(same) == before
    assert outcome["rebuild_equal"]
    desk.page.goto(f"/runs/{done}")
    expect(desk.page.get_by_text("Success", exact=True).first).to_be_visible()
    shoot("rebuild")
    found = demo.table()["assetMaterializations"]
    assert any(event["runId"] == done and numbers(event)["dagster/partition_row_count"] > 0 for event in found)
    verified = desk.verify()
    outcome["rows_lost"] = len(verified)
    assert not verified
