"""drop and migrate: the end of a pipeline, and the next layout of the lake's own tables."""

from collections.abc import Callable
from pathlib import Path

import pytest

from arrow_ingest.config import PipelineConfig
from arrow_ingest.demo.broker import EmbeddedBroker
from arrow_ingest.lake.catalog import catalog_of
from arrow_ingest.lake.session import open_lake
from arrow_ingest.lake.sql import LAKE, OWN_SCHEMA
from arrow_ingest.lake.tables import LAYOUT_VERSION, META
from arrow_ingest.maintenance_settings import Step
from arrow_ingest.project import load_pipelines
from arrow_ingest_tests.cli_project import CliProject, cli_project


@pytest.fixture
def project(tmp_path: Path, broker: EmbeddedBroker, topic: Callable[..., str]) -> CliProject:
    """Two pipelines in one lake, both with rows, and one of them maintained."""
    project = cli_project(tmp_path, broker.bootstrap_servers, clicks=topic(partitions=2), views=topic(partitions=2))
    for name in ("clicks", "views"):
        project.run("produce", name, "--batches", "4", "--rate", "0", "--rows-per-batch", "20")
        project.run("drain", name)
    return project


def config_of(project: CliProject, name: str) -> PipelineConfig:
    return next(config for config in load_pipelines(project.folder) if config.name == name)


def own_rows_of(config: PipelineConfig) -> int:
    """Rows of our own tables that name the pipeline, its lanes' tables among them."""
    with open_lake(config.lake, read_only=True) as lake:
        tables = lake.execute(
            "SELECT table_name FROM duckdb_tables() t JOIN duckdb_columns() c USING (schema_name, table_name) "
            "WHERE t.database_name = ? AND schema_name = ? AND column_name = 'pipeline'",
            [LAKE, OWN_SCHEMA],
        )
        assert {"pipelines", "commits"} <= {name for (name,) in tables}
        text = " UNION ALL ".join(f'SELECT pipeline FROM {LAKE}.{OWN_SCHEMA}."{name}"' for (name,) in tables)
        [(rows,)] = lake.execute(f"SELECT count(*) FROM ({text}) WHERE pipeline = ?", [config.name])
        [(lanes,)] = lake.execute(
            "SELECT count(*) FROM duckdb_tables() WHERE starts_with(table_name, ?)", [f"lanes_{config.name}_"]
        )
        return int(rows) + int(lanes)


def test_a_dropped_pipeline_is_gone_with_its_table_and_its_neighbour_stays(project: CliProject) -> None:
    for name in ("clicks", "views"):
        project.run("maintain", name)
    refused = project.run("drop", "clicks", exit_code=2).stderr
    assert "this would drop pipeline clicks and table main.clicks with 80 rows in" in refused
    assert "--yes" in refused
    before = own_rows_of(config_of(project, "views"))
    dropped = project.json("drop", "clicks", "--yes")
    assert (dropped["dropped"], dropped["held"]["rows"], dropped["held"]["dead_letters"]) == (True, 80, 0)
    assert own_rows_of(config_of(project, "clicks")) == 0
    assert own_rows_of(config_of(project, "views")) == before
    tables = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'main' ORDER BY 1"
    assert [row["table_name"] for row in project.json("sql", tables)] == ["views", "views__dead_letters"]
    assert "nothing to drop" in project.run("drop", "clicks", "--yes").stdout
    project.run("verify", "views")
    # Its name and its table are free again, and a run begins at the topic's start.
    project.run("drain", "clicks")
    assert project.json("sql", "SELECT count(*) AS n FROM clicks") == [{"n": 80}]
    project.run("verify")


def test_a_kept_table_is_an_ordinary_one_that_no_pipeline_takes_by_accident(project: CliProject) -> None:
    project.run("drop", "clicks", "--keep-table", "--yes")
    assert project.json("sql", "SELECT count(*) AS n FROM clicks") == [{"n": 80}]
    assert own_rows_of(config_of(project, "clicks")) == 0
    assert "no pipeline made it" in project.run("drain", "clicks", exit_code=2).stderr


def test_a_run_that_drains_makes_drop_wait_and_is_told(project: CliProject) -> None:
    config = config_of(project, "clicks")
    with catalog_of(config.lake).lane_lock(config.name, 0, holder="a-run"):
        assert "a-run" in project.run("drop", "clicks", "--yes", "--wait", "0", exit_code=3).stderr
    with catalog_of(config.lake).maintenance_lock(holder="a-maintenance"):
        assert "a-maintenance" in project.run("drop", "clicks", "--yes", "--wait", "0", exit_code=3).stderr
    assert project.json("sql", "SELECT count(*) AS n FROM clicks") == [{"n": 80}]


def test_what_was_dropped_is_reached_by_time_travel_until_its_snapshots_expire(project: CliProject) -> None:
    with open_lake(config_of(project, "clicks").lake, read_only=True) as lake:
        [(snapshot,)] = lake.execute("SELECT id FROM ducklake_current_snapshot(?)", [LAKE])
    project.run("drop", "clicks", "--yes")
    earlier = f"SELECT count(*) AS n FROM clicks AT (VERSION => {snapshot})"
    assert project.json("sql", earlier) == [{"n": 80}]
    project.run("maintain", "views", "--only", Step.EXPIRE.value)  # of a day ago and older: nothing is
    assert project.json("sql", earlier) == [{"n": 80}]


def test_a_lake_of_an_older_layout_is_moved_once_and_works_before_and_after(project: CliProject) -> None:
    config = config_of(project, "clicks")
    with open_lake(config.lake) as lake, lake.transaction():
        lake.execute(f"UPDATE {META} SET layout_version = 1")
    project.run("drain")
    [checked] = project.json("migrate", "--check", exit_code=1)
    assert (checked["was"], checked["layout"]) == (1, 1)
    [moved] = project.json("migrate")
    assert (moved["was"], moved["layout"]) == (1, LAYOUT_VERSION)
    assert "this version's is" in project.run("migrate", "--check").stdout
    project.run("verify")
    with open_lake(config.lake) as lake, lake.transaction():
        lake.execute(f"UPDATE {META} SET layout_version = 99")
    assert "layout 99" in project.run("migrate", exit_code=2).stderr
