"""Finding a project's pipelines, and what is said when its YAML cannot be used."""

from datetime import date
from pathlib import Path

import pytest

from arrow_ingest import environment
from arrow_ingest.config import PipelineConfig
from arrow_ingest.documents import Document, load_documents, resolve
from arrow_ingest.errors import ConfigError
from arrow_ingest.project import PACKAGED_DEFS, choose, choose_one, load_pipeline, load_pipelines, locate

PIPELINE = """\
type: arrow_ingest.KafkaToDuckLake
attributes:
  name: {name}
  kafka: {{topic: clicks, bootstrap_servers: "127.0.0.1:9092"}}
  lake: {{catalog: "sqlite:lake/catalog.sqlite", data_path: lake/data, table: {table}}}
"""


def pipeline_yaml(name: str = "clicks", table: str = "clicks") -> str:
    return PIPELINE.format(name=name, table=table)


def project_at(folder: Path, files: dict[str, str], *, source: str = "src") -> Path:
    """A Dagster project of the package ``shop`` with these files below its defs folder."""
    defs = folder / source / "shop" / "defs"
    defs.mkdir(parents=True)
    (folder / "pyproject.toml").write_text('[tool.dg.project]\nroot_module = "shop"\n')
    for name, text in files.items():
        (defs / name).parent.mkdir(parents=True, exist_ok=True)
        (defs / name).write_text(text)
    return folder


def document_of(tmp_path: Path, text: str) -> Document:
    file = tmp_path / "defs.yaml"
    file.write_text(text)
    return load_documents(file)[0]


def settings(tmp_path: Path, text: str, environ: dict[str, str] | None = None) -> PipelineConfig:
    return resolve(document_of(tmp_path, text), environ=environ or {}, base=tmp_path)


def refused(tmp_path: Path, text: str, environ: dict[str, str] | None = None) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        settings(tmp_path, text, environ)
    assert caught.value.file == str(tmp_path / "defs.yaml")
    return caught.value


# --- discovery ---


def test_packaged_pipeline_is_the_proof_of_concepts_contract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (environment.BOOTSTRAP_SERVERS, environment.CATALOG, environment.DATA_PATH, environment.LANES):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    [config] = load_pipelines()
    assert (config.name, config.kafka.topic, config.lake.schema_name, config.lake.table) == (
        "events_arrow",
        "test-events-arrow",
        "main",
        "events_arrow",
    )
    assert config.kafka.bootstrap_servers == "127.0.0.1:9092"
    assert config.lake.catalog == f"sqlite:{tmp_path}/.arrow_ingest/catalog.sqlite"
    assert config.lake.data_path == f"{tmp_path}/.arrow_ingest/data"
    assert config.partition_by is not None
    assert config.partition_by.start == date(2026, 1, 1)
    assert config.lanes == 1


def test_packaged_pipeline_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(environment.BOOTSTRAP_SERVERS, "kafka:1")
    monkeypatch.setenv(environment.CATALOG, "sqlite:/lake/catalog.sqlite")
    monkeypatch.setenv(environment.DATA_PATH, "s3://bucket/data")
    monkeypatch.setenv(environment.LANES, "4")
    [config] = load_pipelines()
    assert config.kafka.bootstrap_servers == "kafka:1"
    assert (config.lake.catalog, config.lake.data_path) == ("sqlite:/lake/catalog.sqlite", "s3://bucket/data")
    assert config.lanes == 4


@pytest.mark.parametrize("source", ["src", "."])
def test_project_is_found_from_a_folder_inside_it_and_paths_count_from_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    project = project_at(tmp_path, {"clicks/defs.yaml": pipeline_yaml()}, source=source)
    inside = project / "notebooks" / "deep"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)
    [config] = load_pipelines()
    assert config.lake.catalog == f"sqlite:{project}/lake/catalog.sqlite"
    assert config.lake.data_path == f"{project}/lake/data"
    assert load_pipelines(project) == (config,)
    assert load_pipeline(project / source / "shop/defs/clicks/defs.yaml") == config


def test_every_yaml_name_folder_and_document_is_found_and_other_components_are_left_alone(tmp_path: Path) -> None:
    both = pipeline_yaml("a", "a") + "---\n" + pipeline_yaml("b", "b")
    full = pipeline_yaml("c", "c").replace("arrow_ingest.Kafka", "arrow_ingest.components.kafka_to_ducklake.Kafka")
    extras = "requirements: {env: [X]}\npost_processing:\n  assets: [{target: '*', attributes: {}}]\n"
    project = project_at(
        tmp_path,
        {
            "1/defs.yaml": both,
            "2/deep/defs.yml": full,
            "3/component.yaml": pipeline_yaml("d", "d") + extras,
            "4/defs.yaml": "type: dagster.DefsFolderComponent\n",
            "4/inner/defs.yaml": pipeline_yaml("e", "e"),
            "5/defs.yaml": "type: other.Component\nattributes: {name: '{{ whatever }}'}\n",
            "5/inner/defs.yaml": pipeline_yaml("f", "f"),
            ".hidden/defs.yaml": pipeline_yaml("g", "g"),
            "6/notes.yaml": pipeline_yaml("h", "h"),
        },
    )
    assert [config.name for config in load_pipelines(project)] == ["a", "b", "c", "d", "e"]


def test_dg_toml_counts_before_pyproject(tmp_path: Path) -> None:
    project = project_at(tmp_path, {"defs.yaml": pipeline_yaml()})
    (project / "dg.toml").write_text('[project]\nroot_module = "elsewhere"\ndefs_module = "shop.defs"\n')
    (project / "pyproject.toml").write_text("[tool.dg]\n")
    assert load_pipelines(project)[0].name == "clicks"


def test_folder_that_is_no_project_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no pyproject.toml with \[tool.dg\]"):
        locate(tmp_path)


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("[tool.dg]\n", "tool.dg.project.root_module: name the package"),
        ('[tool.dg.project]\nroot_module = "gone"\n', "gone.defs should be the folder"),
        ("[tool.dg\n", "not TOML"),
    ],
)
def test_project_settings_that_cannot_be_used_name_the_file(tmp_path: Path, toml: str, said: str) -> None:
    (tmp_path / "pyproject.toml").write_text(toml)
    with pytest.raises(ConfigError, match=said) as caught:
        locate(tmp_path)
    assert caught.value.file == str(tmp_path / "pyproject.toml")


def test_project_without_pipelines_says_what_to_add(tmp_path: Path) -> None:
    project = project_at(tmp_path, {"other/defs.yaml": "type: other.Component\n"})
    with pytest.raises(ConfigError, match=r"defs.yaml of type arrow_ingest.KafkaToDuckLake"):
        load_pipelines(project)


def test_two_pipelines_of_one_name_are_refused_at_the_second(tmp_path: Path) -> None:
    project = project_at(
        tmp_path, {"a/defs.yaml": pipeline_yaml(), "b/defs.yaml": "# comment\n" + pipeline_yaml(table="other")}
    )
    with pytest.raises(ConfigError, match=r"'clicks' is the name of another pipeline, at .*a/defs.yaml:1") as caught:
        load_pipelines(project)
    assert (caught.value.line, caught.value.key) == (4, "name")


def test_two_pipelines_into_one_table_are_refused_whatever_the_case(tmp_path: Path) -> None:
    project = project_at(
        tmp_path, {"a/defs.yaml": pipeline_yaml(), "b/defs.yaml": pipeline_yaml(name="more", table="Clicks")}
    )
    with pytest.raises(ConfigError, match="the table of pipeline 'clicks'") as caught:
        load_pipelines(project)
    assert (caught.value.line, caught.value.key) == (5, "lake.table")


def test_choosing_pipelines(tmp_path: Path) -> None:
    project = project_at(tmp_path, {"a/defs.yaml": pipeline_yaml("a", "a"), "b/defs.yaml": pipeline_yaml("b", "b")})
    both = load_pipelines(project)
    assert choose(both, []) == both
    assert choose(both, ["b", "b"]) == (both[1],)
    assert choose_one(both[:1], None) == both[0]
    with pytest.raises(ConfigError, match="there is no pipeline 'c', only a, b"):
        choose(both, ["c"])
    with pytest.raises(ConfigError, match="Name one of a, b"):
        choose_one(both, None)


# --- templates and the environment ---


def test_environment_values_become_what_the_setting_wants(tmp_path: Path) -> None:
    text = (
        pipeline_yaml()
        + '  lanes: "{{ env.LANES }}"\n'
        + """  flush: {max_age_seconds: "{{ env('AGE', '2.5') }}", max_bytes: "{{ env.BYTES or '8MiB' }}"}\n"""
        + '  metadata_columns: "{{ env.COLUMNS }}"\n'
    )
    columns = "['_kafka_generation', '_kafka_partition', '_kafka_offset', '_kafka_row']"
    config = settings(tmp_path, text, {"LANES": "2", "COLUMNS": columns})
    assert config.lanes == 2
    assert (config.flush.max_age_seconds, config.flush.max_bytes) == (2.5, 8 * 1024 * 1024)
    assert config.metadata_columns == ("_kafka_generation", "_kafka_partition", "_kafka_offset", "_kafka_row")


@pytest.mark.parametrize("password", ["1e3", "0x10", "007", "1_000", "'quoted'", "3.10", "pass{{word"])
def test_secret_that_reads_like_python_arrives_as_it_was_written(tmp_path: Path, password: str) -> None:
    text = pipeline_yaml().replace(
        '"127.0.0.1:9092"', '"{{ env.HOST }}:{{ env.PORT }}", properties: {sasl.password: "{{ env.PASSWORD }}"}'
    )
    config = settings(tmp_path, text, {"HOST": "kafka", "PORT": "9092", "PASSWORD": password})
    assert config.kafka.bootstrap_servers == "kafka:9092"
    assert config.kafka.properties == {"sasl.password": password}


@pytest.mark.parametrize("template", ["{{ env.BROKERS }}", "{{ env('BROKERS') }}", "host:{{ env.BROKERS }}"])
def test_variable_that_is_not_set_is_named_with_file_line_and_key(tmp_path: Path, template: str) -> None:
    error = refused(tmp_path, pipeline_yaml().replace("127.0.0.1:9092", template))
    assert (error.line, error.key) == (4, "kafka.bootstrap_servers")
    assert error.message.startswith("the environment variable BROKERS is not set")


@pytest.mark.parametrize("template", ["{{ dg.AutomationCondition }}", "{{ env.A", "{{ 1 / 0 }}", "{{ 'a' + 1 }}"])
def test_template_that_fails_is_told_with_its_key(tmp_path: Path, template: str) -> None:
    error = refused(tmp_path, pipeline_yaml().replace("127.0.0.1:9092", template))
    assert (error.line, error.key) == (4, "kafka.bootstrap_servers")
    assert "fails" in error.message


def test_dagster_resolves_the_packaged_pipeline_to_the_same_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    dagster = pytest.importorskip("dagster")
    monkeypatch.setenv(environment.BOOTSTRAP_SERVERS, "kafka:1")
    [document] = load_documents(PACKAGED_DEFS / "events_arrow" / "defs.yaml")
    by_dagster = PipelineConfig.model_validate(dagster.ResolutionContext.default().resolve_value(document.attributes))
    ours = resolve(document, environ=environment.variables(), base=Path())
    assert ours == by_dagster


def test_home_folder_can_stand_in_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    text = pipeline_yaml().replace("sqlite:lake/", "sqlite:~/lake/").replace("lake/data", "~/lake/data")
    lake = settings(tmp_path, text).lake
    assert (lake.catalog, lake.data_path) == ("sqlite:/home/ann/lake/catalog.sqlite", "/home/ann/lake/data")


def test_project_root_can_stand_in_a_path(tmp_path: Path) -> None:
    config = settings(tmp_path, pipeline_yaml().replace("lake/data", "'{{ context.project_root }}/d'"))
    assert config.lake.data_path == f"{tmp_path}/d"


# --- settings that cannot be used ---


@pytest.mark.parametrize(
    ("extra", "line", "key", "said"),
    [
        ("  lanes: 0\n", 6, "lanes", "greater than 0"),
        ("  flush:\n    max_bytes: lots\n", 7, "flush.max_bytes", "byte"),
        ("  flush:\n    max_size: 1\n", 7, "flush.max_size", "there is no such setting"),
        ("  partition_by: {column: at}\n", 6, "partition_by.start", "this setting is required"),
        ("  start_from: 2026-11-04T00:00:00\n", 6, "start_from", "needs a zone"),
        ("  start_from: soon\n", 6, "start_from", "'earliest' or 'latest'"),
        ("  columns: {at: varchar}\n", 6, "columns.at", "timestamptz"),
        ("  metadata_columns:\n    - _inserted_at\n", 6, "metadata_columns", "cannot be left out"),
        ("  metadata_columns:\n    - a\n    - _kafka_row\n", 7, "metadata_columns.0", "Input should be"),
        ("  lanes: two\n  writer: none\n", 6, "lanes", r"\(and 1 more setting is wrong\)"),
        ("  limits: {max_message_bytes: 1GiB}\n", 2, None, "must hold at least one message"),
    ],
)
def test_setting_that_is_refused_has_file_line_and_key(
    tmp_path: Path, extra: str, line: int, key: str | None, said: str
) -> None:
    error = refused(tmp_path, pipeline_yaml() + extra)
    assert (error.line, error.key) == (line, key)
    assert error.args[0].startswith(f"{tmp_path}/defs.yaml:{line}: ")
    with pytest.raises(ConfigError, match=said):
        raise error


def test_second_document_counts_lines_from_the_files_start(tmp_path: Path) -> None:
    project = project_at(tmp_path, {"defs.yaml": pipeline_yaml() + "---\n" + pipeline_yaml("b", "b") + "  lanes: 0\n"})
    with pytest.raises(ConfigError) as caught:
        load_pipelines(project)
    assert (caught.value.line, caught.value.key) == (12, "lanes")


def test_pipeline_without_attributes_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path, "\ntype: arrow_ingest.KafkaToDuckLake\n").line == 2


@pytest.mark.parametrize(
    ("content", "line"),
    [(b"type: [\n", 2), (b"a: 1\n b: 2\n", 2), (b"\xff\xfe\xff", None), (b"a: \x00\n", None)],
)
def test_file_that_is_no_yaml_is_refused(tmp_path: Path, content: bytes, line: int | None) -> None:
    file = tmp_path / "defs.yaml"
    file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_documents(file)
    assert (caught.value.file, caught.value.line) == (str(file), line)
