"""`docker/Dockerfile`, read: who runs, what it is built from, what does not get into it. It is never built here."""

import json
import re
import tomllib

import pytest
import yaml

from arrow_ingest_tests.docker.compose import DOCKER, ROOT, document
from arrow_ingest_tests.docker.dockerfile import of, seen, stages

ARGUMENTS, BUILD, IMAGE = stages((DOCKER / "Dockerfile").read_text())


def test_it_runs_as_a_user_by_number_who_is_not_root() -> None:
    [user] = of(IMAGE, "USER")
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", user.text)
    assert IMAGE.index(user) < IMAGE.index(of(IMAGE, "CMD")[0])
    assert not [instruction for instruction in IMAGE[IMAGE.index(user) :] if instruction.name in {"RUN", "COPY"}]
    values = yaml.safe_load((DOCKER / "kubernetes" / "values.yaml").read_text())
    security = values["runLauncher"]["config"]["k8sRunLauncher"]["runK8sConfig"]["podSpecConfig"]["securityContext"]
    assert f"{security['runAsUser']}:{security['runAsGroup']}" == user.text


def test_base_image_is_slim_and_pinned_by_a_release() -> None:
    [python] = ARGUMENTS
    assert re.fullmatch(r"PYTHON_IMAGE=python:3\.1[123]\.\d+-slim-\w+", python.text)
    assert [stage[0].text.split()[0] for stage in (BUILD, IMAGE)] == ["${PYTHON_IMAGE}"] * 2


def test_everything_is_installed_at_the_versions_of_constraints() -> None:
    [environment] = of(BUILD, "ENV")
    assert "PIP_CONSTRAINT=/src/constraints.txt" in environment.words
    pins = {line.split("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line}
    assert {"hatchling", "trove-classifiers"} <= pins
    steps = " ".join(run.text for run in of(BUILD, "RUN"))
    assert "--no-build-isolation" in steps
    assert not [run for run in of(IMAGE, "RUN") if "pip" in run.text or "apt" in run.text]
    [extras] = re.findall(r"\.whl\)\[([\w,]+)\]", steps)
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(extras.split(",")) == {"alerts", "docker", "kubernetes", "metrics"} <= set(known)


@pytest.mark.parametrize("stage", [ARGUMENTS, BUILD, IMAGE])
def test_no_layer_holds_a_secret(stage: list) -> None:
    words = [word for name in ("ARG", "ENV", "LABEL") for instruction in of(stage, name) for word in instruction.words]
    assert not [word for word in words if re.search("password|secret|token|key|credential", word, re.IGNORECASE)]
    for instruction in of(stage, "COPY"):
        assert not [word for word in instruction.words if ".env" in word or word == "."]


def test_the_build_sees_what_it_copies_and_no_more() -> None:
    copied = [
        source
        for stage in (BUILD, IMAGE)
        for copy in of(stage, "COPY")
        if not copy.flags.get("from")
        for source in copy.words[:-1]
    ]
    for source in copied:
        assert (ROOT / source).exists(), source
        assert seen(ROOT, source), source
    assert "pyproject.toml" in copied
    assert seen(ROOT, "arrow_ingest/defs/events_arrow/defs.yaml")
    for path in (
        ".git/config",
        ".venv/bin/python",
        "docker/.env",
        ".arrow_ingest/data/x",
        "arrow_ingest/__pycache__/x",
    ):
        assert not seen(ROOT, path), path
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert allowed == set(copied)


def test_the_wheel_puts_pyproject_beside_the_code() -> None:
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["force-include"] == {"pyproject.toml": "arrow_ingest/pyproject.toml"}
    assert {"pyproject.toml", "README.md", "LICENSE"} <= {word for copy in of(BUILD, "COPY") for word in copy.words}


def test_health_check_and_command_are_the_code_locations() -> None:
    [check] = of(IMAGE, "HEALTHCHECK")
    [command] = of(IMAGE, "CMD")
    assert check.text.endswith('CMD ["dagster", "api", "grpc-health-check", "--port", "4000"]')
    code = document()["services"]["code"]
    assert json.loads(command.text) == code["command"]
    assert "healthcheck" not in code
    port = code["command"][code["command"].index("--port") + 1]
    assert [expose.text for expose in of(IMAGE, "EXPOSE")] == [port] == ["4000"]


def test_settings_lie_where_services_look_for_them() -> None:
    [environment] = of(IMAGE, "ENV")
    assert "DAGSTER_HOME=/opt/dagster" in environment.words
    [settings] = [copy for copy in of(IMAGE, "COPY") if not copy.flags.get("from")]
    assert settings.words == ("docker/dagster.yaml", "docker/workspace.yaml", "/opt/dagster/")
    services = document()["services"]
    for name in ("webserver", "daemon"):
        assert "/opt/dagster/workspace.yaml" in services[name]["command"]
    made = " ".join(run.text for run in of(IMAGE, "RUN"))
    base = yaml.safe_load((DOCKER / "dagster.yaml").read_text())["compute_logs"]["config"]["base_dir"]
    assert re.search(rf"--owner \d+ .* {base}\b", made)
    [folder] = of(IMAGE, "WORKDIR")
    assert folder.text in made
