"""A project made by `arrow-ingest init`: it loads at once, works from the command line, and its test passes."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from click.testing import CliRunner

from arrow_ingest import ArrowProducer
from arrow_ingest.cli import cli
from arrow_ingest.cli.exits import Exit
from arrow_ingest.demo.broker import PRODUCER_PROPERTIES, EmbeddedBroker
from arrow_ingest.documents import load_documents
from arrow_ingest.errors import ConfigError
from arrow_ingest.project import load_pipelines
from arrow_ingest.reference.json_schema import document_schema
from arrow_ingest.scaffold.project_files import SCHEMA_FILE, ProjectName, write_project
from arrow_ingest_tests.cli_project import CliProject
from arrow_ingest_tests.json_schema_check import disagreement

REPOSITORY = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project as it is made, for tests that change nothing in it."""
    folder = tmp_path_factory.mktemp("home") / "my-events"
    write_project(folder, first_day="2026-01-01")
    return folder


def in_project(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command of this Python's in a project, with none of the variables that its YAML reads."""
    unset = ("KAFKA_BOOTSTRAP_SERVERS", "KAFKA_TOPIC", "LAKE_CATALOG", "LAKE_DATA_PATH", "DAGSTER_HOME")
    environ = {name: value for name, value in os.environ.items() if name not in unset}
    environ["PYTHONPATH"] = str(REPOSITORY)
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder, env=environ, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("at", [".", ".."])
def test_dagster_validates_it_uninstalled_and_unconfigured(made: Path, at: str) -> None:
    workspace = made.relative_to((made / at).resolve()) / "workspace.yaml"
    done = in_project(made / at, "dagster", "definitions", "validate", "-w", str(workspace))
    assert done.returncode == 0, done.stderr


def test_its_own_test_passes(made: Path) -> None:
    done = in_project(made, "pytest", "-q", "-p", "no:cacheprovider")
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


def test_editors_accept_its_yaml_by_the_file_that_it_names(made: Path) -> None:
    [file] = made.glob("src/*/defs/*/defs.yaml")
    first_line = file.read_text().splitlines()[0]
    assert first_line.startswith("# yaml-language-server: $schema=")
    assert (file.parent / first_line.partition("=")[2]).resolve() == made / SCHEMA_FILE
    [document] = load_documents(file)
    schema = document_schema()
    assert disagreement({"type": document.type, "attributes": document.attributes}, schema, schema) is None
    assert CliRunner().invoke(cli, ["schema"]).output == (made / SCHEMA_FILE).read_text()


def test_env_example_says_what_the_yaml_would_mean_without_it(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for line in (made / ".env.example").read_text().splitlines():
        if line and not line.startswith("#"):
            monkeypatch.delenv(line.partition("=")[0], raising=False)
    without = load_pipelines(made)
    for line in (made / ".env.example").read_text().splitlines():
        if line and not line.startswith("#"):
            monkeypatch.setenv(*line.split("=", 1))
    assert load_pipelines(made) == without


def test_env_file_leads_the_commands_to_the_topic(
    tmp_path: Path, broker: EmbeddedBroker, topic: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "my-events"
    assert CliRunner().invoke(cli, ["init", str(folder)]).exit_code == Exit.OK
    name = topic()
    for variable in ("KAFKA_BOOTSTRAP_SERVERS", "KAFKA_TOPIC", "LAKE_CATALOG", "LAKE_DATA_PATH"):
        monkeypatch.setenv(variable, "not what .env says")  # and set back after the test
    example = (folder / ".env.example").read_text()
    (folder / ".env").write_text(
        example.replace("127.0.0.1:9092", broker.bootstrap_servers).replace("TOPIC=my-events", f"TOPIC={name}")
    )
    with ArrowProducer(name, {"bootstrap.servers": broker.bootstrap_servers, **PRODUCER_PROPERTIES}) as producer:
        producer.send(pa.RecordBatch.from_pylist([{"timestamp": "2026-11-04T12:00:00Z", "event": "hello"}]))

    project = CliProject(folder)
    [outcome] = project.json("inspect")
    assert outcome["partitions"] == {"2026-11-04": 1}
    project.run("drain")
    assert project.json("sql", "SELECT event FROM my_events") == [{"event": "hello"}]
    project.run("status")
    assert (folder / "lake" / "catalog.sqlite").is_file()


@pytest.mark.parametrize(
    "name", ["My-events", "1st", "a__b", "a-", "naïve", "x" * 49, "class", "json", "dagster", "tests"]
)
def test_name_that_cannot_be_a_package_and_a_pipeline_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="cannot name a project"):
        ProjectName(name)


def test_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "my-events"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    result = CliRunner().invoke(cli, ["init", str(folder)])
    assert result.exit_code == Exit.USAGE
    assert "choose another name" in result.stderr
    assert [file.name for file in folder.iterdir()] == ["notes.txt"]


def test_empty_folder_is_filled(tmp_path: Path) -> None:
    folder = tmp_path / "my-events"
    folder.mkdir()
    assert CliRunner().invoke(cli, ["init", str(folder)]).exit_code == Exit.OK
    assert (folder / "workspace.yaml").is_file()


OF_A_USER = """

table = dg.AssetKey(["lake", "main", "clicks"])


@dg.asset(deps=[table])
def daily_clicks() -> None: ...


defs = dg.Definitions.merge(defs, dg.Definitions(assets=[daily_clicks]))
assert defs.resolve_job_def("drain_clicks")
assert defs.resolve_asset_graph().get(dg.AssetKey("daily_clicks")).parent_keys == {table}
"""


def test_factory_serves_definitions_without_components_as_the_documentation_says(tmp_path: Path) -> None:
    [example] = re.findall(r"```python\n(.*?)```", (REPOSITORY / "docs" / "concepts.md").read_text(), re.DOTALL)
    (tmp_path / "definitions.py").write_text(example + OF_A_USER)
    done = in_project(tmp_path, "definitions")
    assert done.returncode == 0, done.stderr
