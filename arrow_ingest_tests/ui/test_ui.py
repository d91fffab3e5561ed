"""What a user sees of the demo in Dagster's UI: each state by GraphQL, and as visible text in a browser."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from arrow_ingest.components.names import Check
from arrow_ingest_tests.ui.running_demo import (
    ALL_DAYS,
    DAYS,
    Node,
    RunningDemo,
    is_computed,
    numbers,
    pairs,
    wait_for,
)

TABLE = "/assets/lake/main/events_arrow"
SENSOR = "/locations/__repository__@arrow_ingest.definitions/sensors/drain_events_arrow_sensor"
PLOTTED = ("bytes_copied", "bytes_received", "commit_ms", "files", "lag", "mb_per_second", "rows", "snapshot")

Shoot = Callable[[str], None]

pytestmark = pytest.mark.timeout(600)  # the first test also waits for the demo


def test_days_are_materialised_with_snapshots_as_data_versions(page: Page, demo: RunningDemo, shoot: Shoot) -> None:
    newest = {event["partition"]: event for event in reversed(demo.table()["assetMaterializations"])}
    assert len(newest) == ALL_DAYS
    for event in newest.values():
        assert int(pairs(event["tags"])["dagster/data_version"]) == numbers(event)["snapshot"] > 0
        assert numbers(event)["dagster/partition_row_count"] > 0
    day = sorted(newest)[-2]

    page.goto(f"{TABLE}?view=partitions&partition={day}")
    expect(page.get_by_text(f"Materialized ({ALL_DAYS})")).to_be_visible()
    expect(page.get_by_text("Failed (0)")).to_be_visible()
    expect(page.get_by_text("AT (VERSION =>")).to_be_visible()
    page.get_by_text("Show tags").click()
    version = page.get_by_role("row").filter(has_text=re.compile("^data_version"))
    # The run goes on publishing, so the page may show a later version than GraphQL said.
    assert int(version.inner_text().split()[-1]) >= numbers(newest[day])["snapshot"]
    version.scroll_into_view_if_needed()
    shoot("partitions")


def test_every_check_has_its_badge(page: Page, demo: RunningDemo, shoot: Shoot) -> None:
    # Between a materialisation and its checks, a moment later, there is no badge.
    table = wait_for(demo.table, is_computed, seconds=60)
    assert {check["name"] for check in table["assetChecksOrError"]["checks"]} == set(Check)

    page.goto(f"{TABLE}?view=checks&checkDetail={Check.ROWS_ACCOUNTED_FOR}")
    expect(page.get_by_text("Succeeded", exact=True)).to_have_count(len(Check))
    expect(page.get_by_text("Passed", exact=True)).to_be_visible()
    said = page.get_by_text(re.compile(r"^\d+ rows in the table, \d+ in the ledger$"))
    in_table, in_ledger = re.findall(r"\d+", said.inner_text())
    assert in_table == in_ledger
    shoot("checks")


def test_sensor_is_on_and_launched_the_run(page: Page, demo: RunningDemo) -> None:
    assert demo.sensor_status() == "RUNNING"
    run = demo.runs()[-1]
    assert run["jobName"] == "drain_events_arrow"
    assert run["status"] in {"STARTED", "SUCCESS"}
    assert run["tags"]["dagster/sensor_name"] == "drain_events_arrow_sensor"
    assert run["tags"]["arrow_ingest/lane"] == "0"

    page.goto(SENSOR)
    expect(page.get_by_role("checkbox")).to_be_checked()
    page.goto("/runs")
    for text in (run["runId"][:8], "drain_events_arrow", "drain_events_arrow_sensor", "arrow_ingest/lane: 0"):
        expect(page.get_by_text(text, exact=True).first).to_be_visible()


def test_materialize_of_one_day_beside_the_lane_succeeds(page: Page, demo: RunningDemo) -> None:
    day = sorted({event["partition"] for event in demo.table()["assetMaterializations"]})[-DAYS]
    before = {run["runId"] for run in demo.runs()}

    page.goto(f"{TABLE}?view=partitions&partition={day}")
    expect(page.get_by_text("AT (VERSION =>")).to_be_visible()
    page.get_by_role("button", name="Materialize…").first.click()
    expect(page.get_by_text("Launch runs to materialize")).to_be_visible()
    page.get_by_role("button", name="Launch 1 run").click()
    expect(page.get_by_text(re.compile("Launched run"))).to_be_visible()

    launched = wait_for(lambda: _launched_for(demo, day, before), bool, seconds=180)
    run = wait_for(lambda: _run(demo, launched), lambda seen: seen["status"] in {"SUCCESS", "FAILURE"}, seconds=120)
    assert run["status"] == "SUCCESS"
    assert any(
        event["runId"] == launched and event["partition"] == day for event in demo.table()["assetMaterializations"]
    )
    page.goto(f"/runs/{launched}")
    expect(page.get_by_text("Success", exact=True).first).to_be_visible()
    expect(page.get_by_text(day).first).to_be_visible()


def test_numbers_are_plotted(page: Page, demo: RunningDemo, shoot: Shoot) -> None:
    def is_line(table: Node) -> bool:
        found = [numbers(event) for event in table["assetMaterializations"]]
        return all(sum(label in each for each in found) >= 3 for label in PLOTTED)

    wait_for(demo.table, is_line, seconds=180)

    page.goto(TABLE)
    page.locator("button", has_text=re.compile("^Plots$")).click()
    page.locator("button", has_text=re.compile("^Events$")).click()
    for label in PLOTTED:
        expect(page.get_by_text(label, exact=True).last).to_be_visible()
    canvases = page.locator("canvas")
    assert canvases.count() >= len(PLOTTED)
    page.get_by_text("lag", exact=True).last.evaluate("title => title.scrollIntoView({block: 'center'})")
    shoot("plots")
    drawn = "canvas => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.some(byte => byte)"
    assert all(canvas.evaluate(drawn) for canvas in canvases.all())


def test_models_are_made_new_by_themselves_and_each_column_leads_to_the_topic(page: Page, demo: RunningDemo) -> None:
    for name in ("events_daily", "sessions"):
        model = wait_for(
            lambda name=name: demo.table(name), is_computed, seconds=300
        )  # two minutes to a tick, and a run
        assert [key["path"] for key in model["dependencyKeys"]] == [["lake", "main", "events_arrow"]]
        sensors = {pairs(event["tags"]).get("dagster/sensor_name") for event in demo.runs_of(model)}
        assert sensors == {f"refresh_{name}_sensor"}

    for table, column, origin in (
        ("events_daily", "users", "from events_arrow: distinct_id"),
        ("events_arrow", "distinct_id", "from test-events-arrow: distinct_id"),
    ):
        page.goto(f"/assets/lake/main/{table}?view=overview")
        expect(page.get_by_role("row").filter(has_text=column).filter(has_text=origin)).to_be_visible()


def test_graph_leads_from_topic_to_table(page: Page, demo: RunningDemo, shoot: Shoot) -> None:
    table = demo.table()
    assert [key["path"] for key in table["dependencyKeys"]] == [["kafka", "test-events-arrow"]]
    assert set(table["kinds"]) == {"arrow", "ducklake", "parquet"}

    page.goto("/asset-groups")
    for text in ("test-events-arrow", "events_arrow", "Kafka", "DuckLake", "Arrow", "Parquet"):
        expect(page.get_by_text(text, exact=True).last).to_be_visible()
    expect(page.get_by_text(f"{len(Check)} / {len(Check)} Passed")).to_be_visible()
    expect(page.get_by_text(f"{table['partitionStats']['numPartitions']} partitions").first).to_be_visible()
    expect(page.get_by_text("Loading")).to_have_count(0)
    shoot("asset-graph")


def _launched_for(demo: RunningDemo, day: str, before: set[str]) -> str:
    """The run that was launched for a day, or nothing yet."""
    new = [run for run in demo.runs() if run["runId"] not in before]
    return next((run["runId"] for run in new if run["tags"].get("dagster/partition") == day), "")


def _run(demo: RunningDemo, run_id: str) -> dict[str, object]:
    return next(run for run in demo.runs() if run["runId"] == run_id)
