"""`docker/compose.yaml` through compose-go, which is what `docker compose` loads its files with."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from arrow_ingest.stack import programs
from arrow_ingest_tests.conftest import PROGRAMS, needed
from arrow_ingest_tests.docker.compose import DOCKER, document, interpolated, interpolations, made_env

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

VERSION = "v2.16.2"


@pytest.fixture(scope="module")
def compose_go() -> Path:
    """compose-go's command line, built by Go once."""

    def install(folder: Path) -> None:
        go = programs._on_path("go", "compose-go is built by Go", "install Go 1.24 or newer")
        module = f"github.com/compose-spec/compose-go/v2/cmd@{VERSION}"
        programs._run([str(go), "install", module], cwd=folder, GOBIN=str(folder), GOTOOLCHAIN="auto")

    return needed(lambda: programs._installed(PROGRAMS, f"compose-go-{VERSION}", install)) / "cmd"


def load(compose_go: Path, text: str, folder: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    file = folder / "compose.yaml"
    file.write_text(text)
    command = [str(compose_go), "-format", "json", *options, str(file)]
    environ = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, cwd=folder, env=environ)


def test_compose_loads_the_file_with_its_values(compose_go: Path, tmp_path: Path) -> None:
    filled: dict[str, Any] = interpolated(document(), made_env(tmp_path))
    done = load(compose_go, yaml.safe_dump(filled), tmp_path, "-no-interpolation")
    assert done.returncode == 0, done.stderr
    model = json.loads(done.stdout)
    assert set(model["services"]) == set(document()["services"])
    ports = {port["host_ip"] for service in model["services"].values() for port in service.get("ports", ())}
    assert ports == {"127.0.0.1"}
    assert model["networks"]["default"]["name"] == "arrow_ingest"
    daemon = model["services"]["daemon"]
    for name, value in filled["services"]["daemon"]["environment"].items():
        assert daemon["environment"][name] == value


def test_compose_reads_its_anchors_and_merges_as_we_do(compose_go: Path, tmp_path: Path) -> None:
    text = (DOCKER / "compose.yaml").read_text()
    done = load(compose_go, text, tmp_path, "-no-interpolation")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["services"]
    for name, service in document()["services"].items():
        assert found[name].get("environment", {}) == service.get("environment", {}), name
        for part in ("command", "entrypoint", "image", "restart", "init", "group_add", "cap_drop"):
            assert found[name].get(part) == service.get(part), (name, part)


def test_compose_insists_on_the_same_values_as_we_say(compose_go: Path, tmp_path: Path) -> None:
    done = load(compose_go, (DOCKER / "compose.yaml").read_text(), tmp_path)
    assert done.returncode != 0
    insisted = set(re.findall(r"required variable (\w+) is missing a value: run sh docker/make-env", done.stderr))
    assert insisted == {place.name for place in interpolations() if place.default is None}


def test_a_broken_file_would_be_found(compose_go: Path, tmp_path: Path) -> None:
    broken = interpolated(document(), made_env(tmp_path))
    broken["services"]["code"]["depends_on"]["postgres"] = {"conditions": "service_healthy"}
    done = load(compose_go, yaml.safe_dump(broken), tmp_path, "-no-interpolation")
    assert done.returncode != 0
    assert "conditions" in done.stderr
