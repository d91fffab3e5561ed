"""`docker/dagster.yaml` and `docker/workspace.yaml`, loaded by Dagster itself, against compose.yaml."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from dagster._core.instance.ref import InstanceRef
from dagster._core.workspace.load import location_origins_from_yaml_paths
from dagster_docker import DockerRunLauncher
from docker.models.containers import _create_container_args

from arrow_ingest import environment
from arrow_ingest_tests.docker.compose import DOCKER, ROOT, document, made_env, services

SETTINGS = yaml.safe_load((DOCKER / "dagster.yaml").read_text())


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The daemon's environment, as our own."""
    environ: dict[str, str] = services(made_env(tmp_path))["daemon"]["environment"]
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    return environ


def test_dagster_takes_the_settings(daemon: dict[str, str]) -> None:
    ref = InstanceRef.from_dir(str(DOCKER))
    assert isinstance(ref.run_launcher, DockerRunLauncher)
    assert ref.run_launcher.networks == [document()["networks"]["default"]["name"]]
    assert type(ref.run_coordinator).__name__ == "QueuedRunCoordinator"
    storage: Any = ref.storage_data.config_dict["postgres_db"]
    assert storage["scheme"] == "postgresql+psycopg2"
    assert {part["env"] for part in storage.values() if isinstance(part, dict)} <= set(daemon)


def test_a_wrong_setting_would_be_refused(daemon: dict[str, str], tmp_path: Path) -> None:
    text = (DOCKER / "dagster.yaml").read_text()
    (tmp_path / "dagster.yaml").write_text(text.replace("network: arrow_ingest", "netwerk: arrow_ingest"))
    with pytest.raises(Exception, match="netwerk"):
        _ = InstanceRef.from_dir(str(tmp_path)).run_launcher


def test_runs_get_what_they_need_of_the_daemon(daemon: dict[str, str]) -> None:
    given = SETTINGS["run_launcher"]["config"]["env_vars"]
    assert len(set(given)) == len(given)
    # Not where the code location is: a run loads the code itself.
    assert set(given) == set(daemon) - {"DAGSTER_CODE_HOST", "DAGSTER_CODE_PORT"}
    assert environment.ALERT_URLS not in given


def test_docker_takes_the_containers_settings() -> None:
    config = SETTINGS["run_launcher"]["config"]["container_kwargs"]
    kwargs = {name: value for name, value in config.items() if name != "stop_timeout"}  # taken out by the launcher
    made = _create_container_args({"version": "1.47", "image": "x", "command": None, **kwargs})
    host = made["host_config"]
    assert (host["AutoRemove"], host["Init"], host["Memory"]) == (True, True, 2**30)
    assert made["healthcheck"] == {"test": ["NONE"]}
    [volume] = host["Binds"]
    names = {volume.get("name") for volume in document()["volumes"].values()}
    assert volume.split(":")[0] in names
    with pytest.raises(TypeError):
        _create_container_args({"version": "1.47", "image": "x", "mem_limits": "1g"})


def test_intervals_and_retention_are_the_demos() -> None:
    demo = yaml.safe_load((ROOT / "arrow_ingest" / "demo" / "dagster.yaml").read_text())
    for part in ("run_coordinator", "sensors", "schedules", "retention", "telemetry", "nux"):
        assert SETTINGS[part] == demo[part], part
    assert demo["run_monitoring"].items() < SETTINGS["run_monitoring"].items()
    assert SETTINGS["run_monitoring"]["max_resume_run_attempts"] == 0


def test_workspace_finds_the_code_location_where_compose_runs_it(daemon: dict[str, str]) -> None:
    [origin] = location_origins_from_yaml_paths([str(DOCKER / "workspace.yaml")])
    code = document()["services"]["code"]
    assert (origin.host, origin.location_name) == ("code", "arrow_ingest")
    assert str(origin.port) == code["command"][code["command"].index("--port") + 1]
