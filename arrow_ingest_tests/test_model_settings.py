"""What a model's YAML and its query say, without a lake: errors by file and key, sessions and lineage by hand."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from arrow_ingest import project
from arrow_ingest.config import PipelineConfig
from arrow_ingest.demo.pipelines import demo_project
from arrow_ingest.errors import ConfigError
from arrow_ingest.lake.models.lineage import columns_of
from arrow_ingest.producer.events import EVENT_SCHEMA
from arrow_ingest_tests.lake_writers import pipeline
from arrow_ingest_tests.model_lake import model_of

PIPELINE = """\
type: arrow_ingest.KafkaToDuckLake
attributes:
  name: clicks
  kafka: {topic: clicks, bootstrap_servers: "127.0.0.1:1"}
  lake: {catalog: "sqlite:lake/catalog.sqlite", data_path: lake/data, table: clicks}
  partition_by: {column: at, start: 2026-01-01}
---
type: arrow_ingest.SqlModel
attributes:
  name: daily
  pipeline: clicks
  table: marts.daily
  partition_by: {column: day}
  sql_file: daily.sql
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A project with a pipeline and a model in one file."""
    (tmp_path / "pyproject.toml").write_text('[tool.dg]\n[tool.dg.project]\nroot_module = "shop"\n')
    folder = tmp_path / "shop" / "defs" / "streams"
    folder.mkdir(parents=True)
    (folder / "defs.yaml").write_text(PIPELINE)
    (folder / "daily.sql").write_text("SELECT $start::DATE AS day")
    return tmp_path


def test_model_lies_in_the_lake_of_its_pipeline(shop: Path) -> None:
    [model] = project.load_models(shop)
    assert model.sql == "SELECT $start::DATE AS day"
    assert (model.lake.schema_name, model.lake.table) == ("marts", "daily")
    assert model.lake.catalog == model.pipeline.lake.catalog == f"sqlite:{shop}/lake/catalog.sqlite"
    assert (model.partition_by.column, model.unit) == ("day", "day")


@pytest.mark.parametrize(
    ("old", "new", "key", "says"),
    [
        ("pipeline: clicks", "pipeline: click", "pipeline", "there is no pipeline 'click' in the project, only clicks"),
        ("sql_file: daily.sql", "sql_file: other.sql", "sql_file", "cannot be read"),
        ("sql_file: daily.sql", "sqlfile: daily.sql", "sqlfile", "there is no such setting"),
        ("  sql_file: daily.sql\n", "", "", "give either sql or sql_file"),
        ("marts.daily", "main.clicks", "table", "is the pipeline's own table"),
        ("marts.daily", "arrow_ingest.daily", "table", "belongs to arrow_ingest itself"),
        ("marts.daily", "a.b.c", "table", "neither TABLE nor SCHEMA.TABLE"),
        ("  partition_by: {column: at, start: 2026-01-01}\n", "", "pipeline", "not partitioned by time"),
        ("daily.sql", "daily.sql\n  refresh: soon", "refresh", "neither on_change, by_hand nor a cron"),
        ("daily.sql", "daily.sql\n  checks: [{severity: warn}]", "checks.0", "a check is exactly one of"),
        ("daily.sql", "daily.sql\n  checks: [{bad_rows: FROM model}]", "checks.0", "needs a name"),
        ("daily.sql", "daily.sql\n  checks: [{not_null: [a]}, {not_null: [a]}]", "checks", "two checks are called"),
        ("daily.sql", "daily.sql\n  checks: [{accepted_range: {column: a}}]", "checks.0.accepted_range", "give min"),
    ],
)
def test_wrong_setting_is_named_by_file_line_and_key(shop: Path, old: str, new: str, key: str, says: str) -> None:
    file = shop / "shop" / "defs" / "streams" / "defs.yaml"
    assert old in PIPELINE
    file.write_text(PIPELINE.replace(old, new))
    with pytest.raises(ConfigError, match=says) as refused:
        project.load_models(shop)
    assert (refused.value.key or "", refused.value.file) == (key, str(file))
    assert refused.value.line


def test_two_models_of_one_name_or_one_table_are_refused(shop: Path) -> None:
    file = shop / "shop" / "defs" / "streams" / "defs.yaml"
    second = "---" + PIPELINE.partition("---")[2]
    for twin, key in ((second, "name"), (second.replace("name: daily", "name: other"), "table")):
        file.write_text(PIPELINE + twin)
        with pytest.raises(ConfigError) as refused:
            project.load_models(shop)
        assert refused.value.key == key


LINEAGES: list[tuple[str, dict[str, tuple[str, ...]]]] = [
    ("SELECT *, a + b AS sum, count(*) AS n FROM events", {"a": ("a",), "b": ("b",), "sum": ("a", "b"), "n": ()}),
    ("FROM events SELECT a AS e, e AS again", {"e": ("a",), "again": ("a",)}),
    (
        """WITH c AS (SELECT a AS x, lag(b) OVER (PARTITION BY a) AS y FROM main.events e)
        SELECT c.x, j.z, max(y) AS y FROM c JOIN (SELECT B AS z FROM events) j ON true""",
        {"x": ("a",), "z": ("b",), "y": ("a", "b")},
    ),
    ("SELECT a AS x FROM events UNION ALL SELECT b FROM events", {"x": ("a", "b")}),
    ("SELECT (SELECT max(a) FROM events) AS x, o.a FROM other o", {"x": ("a",), "a": ()}),
    ("SELECT r.first, r.second FROM events AS r(first, second)", {"first": ("a",), "second": ("b",)}),
    ("SELECT e.a.field AS x, * EXCLUDE (a) FROM events e", {"x": ("a",), "b": ("b",)}),
]


@pytest.mark.parametrize(("sql", "expected"), LINEAGES)
def test_lineage_is_read_from_the_query(sql: str, expected: dict[str, tuple[str, ...]]) -> None:
    assert lineage_of(sql, ["a", "b"]) == expected


def lineage_of(sql: str, columns: list[str], table: str = "events") -> dict[str, tuple[str, ...]]:
    serialized = duckdb.connect().execute("SELECT json_serialize_sql(?)", [sql]).fetchall()[0][0]
    return columns_of(json.loads(serialized), columns, table=table, schema="main")


@pytest.fixture
def demo_models(tmp_path: Path) -> dict[str, str]:
    """The demo's queries by the model's name."""
    environ = {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    return {model.name: model.sql for model in demo_project(tmp_path, 1).models(environ)}


DAY = datetime(2026, 11, 4, tzinfo=UTC)
MIDNIGHT = 24 * 60


def sessions(sql: str, minutes_by_user: dict[str, list[int]], day: datetime = DAY) -> list[tuple[Any, ...]]:
    """User, first and last minute (from the 4th's midnight) and events of each session of a day."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("CREATE TABLE events_arrow (distinct_id VARCHAR, event VARCHAR, timestamp TIMESTAMPTZ)")
    for user, minutes in minutes_by_user.items():
        for minute in minutes:
            at = DAY + timedelta(minutes=minute)
            connection.execute("INSERT INTO events_arrow VALUES (?, '$pageview', ?)", [user, at])
    given = {"start": day, "stop": day + timedelta(days=1), "zero": DAY}
    first, last = (f"date_diff('minute', $zero, {at})" for at in ("started_at", "ended_at"))
    text = f"SELECT distinct_id, {first}, {last}, events, day FROM ({sql}\n) ORDER BY ALL"
    rows = connection.execute(text, given).fetchall()
    assert all(row[-1] == day.date() for row in rows)
    return [row[:-1] for row in rows]


def test_session_belongs_to_the_day_on_which_it_began_wherever_it_ends(demo_models: dict[str, str]) -> None:
    events = {
        "gap of 30": [600, 630, 661],
        "from the day before": [-40, -20, 5, 30, 61],
        "over midnight": [MIDNIGHT - 5, MIDNIGHT + 20, MIDNIGHT + 49, MIDNIGHT + 90],
        "the day after": [MIDNIGHT + 100],
    }
    sql = demo_models["sessions"]
    of_days = [sessions(sql, events, DAY + timedelta(days=day)) for day in (-1, 0, 1)]
    assert of_days[0] == [("from the day before", -40, 30, 4)]
    assert of_days[1] == [
        ("from the day before", 61, 61, 1),
        ("gap of 30", 600, 630, 2),
        ("gap of 30", 661, 661, 1),
        ("over midnight", MIDNIGHT - 5, MIDNIGHT + 49, 3),
    ]
    assert of_days[2] == [
        ("over midnight", MIDNIGHT + 90, MIDNIGHT + 90, 1),
        ("the day after", MIDNIGHT + 100, MIDNIGHT + 100, 1),
    ]
    assert sum(row[-1] for rows in of_days for row in rows) == sum(map(len, events.values()))


def test_lineage_of_the_demos_models_leads_to_what_the_topic_has(demo_models: dict[str, str]) -> None:
    columns = EVENT_SCHEMA.names
    daily = lineage_of(demo_models["events_daily"], columns, "events_arrow")
    assert daily == {
        "day": ("timestamp",),
        "event": ("event",),
        "events": (),
        "users": ("distinct_id",),
        "last_at": ("timestamp",),
    }
    found = lineage_of(demo_models["sessions"], columns, "events_arrow")
    assert found["distinct_id"] == ("distinct_id",)
    assert found["seconds"] == found["started_at"] == ("timestamp",)


def test_pipeline_by_value_takes_no_model(tmp_path: Path) -> None:
    config: PipelineConfig = pipeline(tmp_path, partition_by={"column": "event", "unit": "value"})
    with pytest.raises(ValueError, match="not partitioned by time"):
        model_of(config, "SELECT 1")
