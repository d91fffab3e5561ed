"""Definitions load: the packaged ones, and the component in a project of its own by Dagster's own loader."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from arrow_ingest import definitions, project
from arrow_ingest.components.kafka_to_ducklake import KafkaToDuckLake
from arrow_ingest.components.names import Check, Names
from arrow_ingest.errors import ConfigError

REPOSITORY = Path(__file__).parent.parent

DEFS = """\
type: arrow_ingest.KafkaToDuckLake
attributes:
  name: clicks
  kafka: {topic: clicks, bootstrap_servers: "{{ env.CLICKS_BROKERS }}"}
  lake: {catalog: "sqlite:lake/catalog.sqlite", data_path: lake/data, table: clicks}
  lanes: "{{ env.CLICKS_LANES }}"
---
type: arrow_ingest.KafkaToDuckLake
attributes:
  name: orders
  kafka: {topic: orders, bootstrap_servers: "{{ env.CLICKS_BROKERS }}"}
  lake: {catalog: "sqlite:lake/catalog.sqlite", data_path: lake/data, table: orders}
  partition_by: {column: at, start: 2026-01-01}
"""


PYPROJECT = """\
[tool.dg]
directory_type = "project"
[tool.dg.project]
root_module = "shop"
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A Dagster project of a user's own, which was not installed."""
    (tmp_path / "pyproject.toml").write_text(
        '[tool.dg]\ndirectory_type = "project"\n[tool.dg.project]\nroot_module = "shop"\n'
    )
    (tmp_path / "shop" / "defs" / "streams").mkdir(parents=True)
    for module in ("shop/__init__.py", "shop/defs/__init__.py"):
        (tmp_path / module).touch()
    (tmp_path / "shop" / "defs" / "streams" / "defs.yaml").write_text(DEFS)
    monkeypatch.setenv("CLICKS_BROKERS", "127.0.0.1:1")
    monkeypatch.setenv("CLICKS_LANES", "2")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for module in [name for name in sys.modules if name.partition(".")[0] == "shop"]:
        del sys.modules[module]


def load(folder: Path) -> dg.Definitions:
    return dg.load_from_defs_folder(path_within_project=folder)


def test_the_packaged_pipeline_is_topic_table_checks_job_and_sensor() -> None:
    repository = definitions.defs().get_repository_def()
    (config,) = project.load_pipelines()
    names = Names.of(config)
    graph = repository.asset_graph
    assert graph.get(names.table).parent_keys == {names.topic}
    assert graph.get(names.topic).is_external
    assert graph.get(names.table).kinds == {"ducklake", "arrow", "parquet"}
    assert {key.name for key in graph.asset_check_keys} == set(Check)
    assert repository.has_job(names.job)
    assert repository.get_job(names.job).executor_def is dg.in_process_executor
    assert "dagster/max_runtime" in repository.get_job(names.job).tags
    sensor = repository.get_sensor_def(names.sensor)
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
    assert repository.get_implicit_global_asset_job_def().executor_def is dg.in_process_executor


def test_todays_partition_is_declared_and_tomorrows_is_not() -> None:
    (config,) = project.load_pipelines()
    days = definitions.defs().resolve_asset_graph().get(Names.of(config).table).partitions_def
    assert isinstance(days, dg.DailyPartitionsDefinition)
    assert days.end_offset == 1
    assert days.timezone == "UTC"


def test_dagster_validates_the_workspace() -> None:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-m", "dagster", "definitions", "validate", "-w", str(REPOSITORY / "workspace.yaml")]
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_project_of_its_own_loads_every_document_of_its_yaml(shop: Path) -> None:
    repository = load(shop).get_repository_def()
    assert {"drain_clicks", "drain_orders"} <= {job.name for job in repository.get_all_jobs()}
    graph = repository.asset_graph
    assert graph.get(dg.AssetKey(["lake", "main", "clicks"])).partitions_def is None
    assert isinstance(graph.get(dg.AssetKey(["lake", "main", "orders"])).partitions_def, dg.DailyPartitionsDefinition)


def test_the_component_and_the_cli_read_the_same_settings(shop: Path) -> None:
    clicks, orders = project.load_pipelines(shop)
    tree = dg.ComponentTree.for_project(shop)
    components = tree.get_all_components(of_type=KafkaToDuckLake)
    assert [component.config for component in components] == [clicks, orders]
    assert clicks.lanes == 2
    assert clicks.lake.data_path == str(shop / "lake" / "data")


def test_a_wrong_setting_is_named_by_file_line_and_key(shop: Path) -> None:
    file = shop / "shop" / "defs" / "streams" / "defs.yaml"
    file.write_text(DEFS.replace("name: orders", "name: Orders"))
    with pytest.raises(Exception) as raised:  # noqa: PT011 - Dagster wraps it
        load(shop).get_repository_def()
    cause = next(error for error in chain(raised.value) if isinstance(error, ConfigError))
    assert (cause.file, cause.key, cause.line) == (str(file), "name", 10)
    assert f"{file}:10" in str(cause)


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what caused it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def test_attributes_from_python_are_checked_by_the_same_model() -> None:
    component = KafkaToDuckLake.from_attributes_dict(
        attributes={
            "name": "clicks",
            "kafka": {"topic": "clicks", "bootstrap_servers": "127.0.0.1:1"},
            "lake": {"catalog": "sqlite:/lake/catalog.sqlite", "data_path": "/lake/data", "table": "clicks"},
        }
    )
    assert component.config.name == "clicks"
    defs = component.build_defs(dg.ComponentTree.for_test().load_context)
    assert defs.resolve_job_def("drain_clicks").name == "drain_clicks"


def test_importing_the_package_does_not_import_dagster() -> None:
    code = "import sys, json, arrow_ingest, arrow_ingest.config; print(json.dumps('dagster' in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) is False
