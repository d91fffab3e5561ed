"""A pipeline's place in a lake: made once, whoever comes first, and refused when it is another one's."""

import signal
from pathlib import Path
from typing import Any

import pytest

from arrow_ingest.config import PipelineConfig
from arrow_ingest.errors import LakeMismatch
from arrow_ingest.lake.ledger import commits_since
from arrow_ingest.lake.session import open_lake
from arrow_ingest.lake.tables import LAYOUT_VERSION, ensure, read_table_schema
from arrow_ingest_tests.lake_writers import let_go, pipeline, start_python

ENSURE = """
import json, sys
from arrow_ingest.config import PipelineConfig
from arrow_ingest.lake.session import open_lake
from arrow_ingest.lake.tables import ensure
config = PipelineConfig.model_validate(json.loads(sys.argv[1]))
with open_lake(config.lake) as lake:
    sys.stdin.readline()
    ensure(lake, config)
"""

TABLES = "SELECT table_name FROM duckdb_tables() WHERE database_name = 'lake' ORDER BY table_name"


@pytest.fixture
def config(tmp_path: Path) -> PipelineConfig:
    return pipeline(tmp_path)


def test_first_start_makes_our_tables_and_the_dead_letters_but_not_the_table(config: PipelineConfig) -> None:
    with open_lake(config.lake) as lake:
        ensure(lake, config)
        found = [name for (name,) in lake.execute(TABLES)]
        assert found == ["commits", "dead_letter_events", "events__dead_letters", "late_rows", "meta", "pipelines"]
        assert read_table_schema(lake, config.lake) is None
        assert commits_since(lake, "events", 0) == ()


def test_second_start_changes_nothing(config: PipelineConfig) -> None:
    with open_lake(config.lake) as lake:
        ensure(lake, config)
        before = lake.execute("SELECT id FROM ducklake_current_snapshot('lake')")
        ensure(lake, config)
        assert lake.execute("SELECT id FROM ducklake_current_snapshot('lake')") == before


def test_processes_that_start_at_once_make_one_set_of_tables(config: PipelineConfig, tmp_path: Path) -> None:
    other = pipeline(tmp_path, name="clicks", lake=config.lake.model_copy(update={"table": "clicks"}))
    children = [start_python(ENSURE, settings.model_dump_json(by_alias=True)) for settings in (config, config, other)]
    let_go(*children)
    with open_lake(config.lake) as lake:
        assert lake.execute("SELECT pipeline FROM lake.arrow_ingest.pipelines ORDER BY ALL") == [
            ("clicks",),
            ("events",),
        ]
        assert lake.execute("SELECT layout_version FROM lake.arrow_ingest.meta") == [(LAYOUT_VERSION,)]


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"kafka": {"topic": "topic-b", "bootstrap_servers": "x:1"}}, "kafka.topic is topic-a in the lake and topic-b"),
        ({"partition_by": None}, r"partition_by is day\(timestamp\) in the lake and none"),
        ({"name": "renamed"}, "belongs to pipeline events"),
    ],
)
def test_other_settings_over_the_same_table_are_refused(
    config: PipelineConfig, tmp_path: Path, changed: dict[str, Any], says: str
) -> None:
    with open_lake(config.lake) as lake:
        ensure(lake, config)
        with pytest.raises(LakeMismatch, match=says):
            ensure(lake, pipeline(tmp_path, **changed))


def test_another_table_under_the_same_name_is_refused(config: PipelineConfig) -> None:
    moved = config.model_copy(update={"lake": config.lake.model_copy(update={"table": "elsewhere"})})
    with open_lake(config.lake) as lake:
        ensure(lake, config)
        with pytest.raises(LakeMismatch, match=r"lake\.table is events in the lake and elsewhere"):
            ensure(lake, moved)


@pytest.mark.parametrize("table", ["events", "Events", "events__dead_letters"])
def test_table_that_no_pipeline_made_is_refused(config: PipelineConfig, table: str) -> None:
    with open_lake(config.lake) as lake:
        lake.execute(f'CREATE TABLE lake.main."{table}" (a INTEGER)')
        with pytest.raises(LakeMismatch, match="no pipeline made it"):
            ensure(lake, config)


def test_lake_of_a_newer_layout_is_refused(config: PipelineConfig) -> None:
    with open_lake(config.lake) as lake:
        ensure(lake, config)
        lake.execute("UPDATE lake.arrow_ingest.meta SET layout_version = ?", [LAYOUT_VERSION + 1])
        with pytest.raises(LakeMismatch, match="upgrade"):
            ensure(lake, config)


def test_bootstrap_that_died_half_way_is_finished_by_the_next(config: PipelineConfig) -> None:
    with open_lake(config.lake) as lake:
        lake.execute("CREATE SCHEMA lake.arrow_ingest")
        ensure(lake, config)
        options = lake.execute(
            "SELECT option_name, value FROM ducklake_options('lake') WHERE scope = 'SCHEMA' ORDER BY 1"
        )
        assert options == [("auto_compact", "false"), ("data_inlining_row_limit", "1000")]


def test_own_tables_stay_in_the_catalog_through_checkpoint_and_flush(config: PipelineConfig) -> None:
    with open_lake(config.lake) as lake:
        ensure(lake, config)
        lake.execute("CREATE TABLE lake.main.control (a INTEGER)")
        lake.execute("CALL lake.set_option('data_inlining_row_limit', 10, schema => 'main', table_name => 'control')")
        lake.execute("INSERT INTO lake.main.control VALUES (1)")
        lake.execute("CHECKPOINT lake")
        lake.execute("CALL ducklake_flush_inlined_data('lake')")
        assert lake.execute("SELECT pipeline FROM lake.arrow_ingest.pipelines") == [("events",)]
    written = {
        path.relative_to(config.lake.data_path).parts[1] for path in Path(config.lake.data_path).rglob("*.parquet")
    }
    assert written == {"control"}


INLINING_LIMIT_BESIDE_A_VIEW = """
import sys
from arrow_ingest.config import LakeConfig
from arrow_ingest.lake.session import open_lake
with open_lake(LakeConfig(catalog=sys.argv[1], data_path=sys.argv[2], table="events")) as lake:
    lake.execute("CREATE SCHEMA lake.s")
    lake.execute("CREATE TABLE lake.s.t (a INTEGER)")
    if sys.argv[3] == "view":
        lake.execute("CREATE VIEW lake.s.v AS SELECT a FROM lake.s.t")
    lake.execute("CALL lake.set_option('data_inlining_row_limit', 10, schema => 's')")
"""


@pytest.mark.parametrize(("beside", "returncode"), [("table only", 0), ("view", -signal.SIGSEGV)])
def test_fact_setting_the_inlining_limit_of_a_schema_with_a_view_kills_the_process(
    config: PipelineConfig, beside: str, returncode: int
) -> None:
    """Once this fails, options may be set at any time (see `tables._set_options`)."""
    child = start_python(INLINING_LIMIT_BESIDE_A_VIEW, config.lake.catalog, config.lake.data_path, beside)
    child.communicate(timeout=60)
    assert child.returncode == returncode


def test_schema_of_another_name_is_made(config: PipelineConfig, tmp_path: Path) -> None:
    lake_settings = {
        "catalog": config.lake.catalog,
        "data_path": config.lake.data_path,
        "schema": "raw",
        "table": "events",
    }
    with open_lake(config.lake) as lake:
        ensure(lake, pipeline(tmp_path, lake=lake_settings))
        assert ("events__dead_letters",) in lake.execute(TABLES)
