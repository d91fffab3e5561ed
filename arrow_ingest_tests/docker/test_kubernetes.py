"""`docker/kubernetes/`: manifests against Kubernetes' schemas, the chart's values against dagster-k8s's own classes.

The job of a lane's run is made by dagster-k8s, as it would be in a cluster, and looked at.
"""

import copy
import re
from collections.abc import Iterator
from typing import Any

import kubernetes_validate
import pytest
import yaml
from dagster._config import process_config
from dagster_k8s.job import DagsterK8sJobConfig, UserDefinedDagsterK8sConfig, construct_dagster_k8s_job
from kubernetes.client import ApiClient

from arrow_ingest import __version__, environment
from arrow_ingest_tests.docker import known_variables as known
from arrow_ingest_tests.docker.chart import run_launcher_config
from arrow_ingest_tests.docker.compose import DOCKER
from arrow_ingest_tests.docker.dockerfile import of, stages

FOLDER = DOCKER / "kubernetes"
VALUES: dict[str, Any] = yaml.safe_load((FOLDER / "values.yaml").read_text())
OLDEST, NEWEST = "1.30", "1.37"


def manifests() -> Iterator[dict[str, Any]]:
    for file in sorted(FOLDER.glob("*.yaml")):
        if file.name != "values.yaml":
            yield from yaml.safe_load_all(file.read_text())


def by_kind(kind: str) -> dict[str, dict[str, Any]]:
    return {manifest["metadata"]["name"]: manifest for manifest in manifests() if manifest["kind"] == kind}


def lane_job() -> dict[str, Any]:
    """The job of one lane's run, as dagster-k8s makes it of the values."""
    processed = process_config(DagsterK8sJobConfig.config_type_run_launcher(), run_launcher_config(VALUES))
    assert processed.success, processed.errors
    config: Any = processed.value
    [deployment] = VALUES["dagster-user-deployments"]["deployments"]
    image = f"{deployment['image']['repository']}:{deployment['image']['tag']}"
    names = (
        *("dagster_home", "image_pull_policy", "service_account_name", "instance_config_map"),
        *("postgres_password_secret", "env_config_maps", "env_secrets", "env_vars"),
    )
    job = construct_dagster_k8s_job(
        job_config=DagsterK8sJobConfig(job_image=image, **{name: config[name] for name in names}),
        args=["dagster", "api", "execute_run", "{}"],
        job_name="dagster-run-1",
        component="run_worker",
        user_defined_k8s_config=UserDefinedDagsterK8sConfig.from_dict(config["run_k8s_config"]),
    )
    made: dict[str, Any] = ApiClient().sanitize_for_serialization(job)
    return made


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_manifests_are_what_kubernetes_takes(version: str) -> None:
    found = list(manifests())
    assert {manifest["kind"] for manifest in found} == {"ConfigMap", "Secret", "NetworkPolicy"}
    for manifest in found:
        kubernetes_validate.validate(manifest, version, strict=True)
    broken = copy.deepcopy(by_kind("NetworkPolicy")["arrow-ingest-code"])
    broken["spec"]["ingres"] = []
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, version, strict=True)


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_a_lanes_run_is_a_job_with_a_memory_limit_and_without_rights(version: str) -> None:
    job = lane_job()
    kubernetes_validate.validate(job, version, strict=True)
    assert job["spec"]["backoffLimit"] == 0
    pod = job["spec"]["template"]["spec"]
    assert pod["restartPolicy"] == "Never"
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    [container] = pod["containers"]
    assert container["image"] == f"arrow-ingest:{__version__}"
    assert container["resources"]["limits"] == {"memory": "1Gi"}
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_a_value_that_dagster_does_not_know_is_refused() -> None:
    config = run_launcher_config(VALUES)
    config["run_k8s_config"]["container_configuration"] = {}
    assert not process_config(DagsterK8sJobConfig.config_type_run_launcher(), config).success


def test_secrets_come_by_reference_alone() -> None:
    secrets = by_kind("Secret")
    [container] = lane_job()["spec"]["template"]["spec"]["containers"]
    sources = [source["secretRef"]["name"] for source in container["envFrom"] if "secretRef" in source]
    assert sources == ["arrow-ingest-lake"]
    by_value = {variable["name"] for variable in container["env"] if "value" in variable}
    assert by_value <= {"DAGSTER_HOME"}
    [password] = [variable["valueFrom"]["secretKeyRef"] for variable in container["env"] if "valueFrom" in variable]
    assert password["key"] in secrets[password["name"]]["stringData"]
    # The example's keys are there to be filled in, and nothing that looks like a secret stands in the values.
    assert {value for secret in secrets.values() for value in secret["stringData"].values()} == {""}
    named = set(re.findall(r"[\w-]*(?:arrow-ingest-\w+)", (FOLDER / "values.yaml").read_text()))
    assert named == set(secrets)
    assert not re.search(r"(?i)(password|secret_?key): *[^\s#{\[]", (FOLDER / "values.yaml").read_text())
    assert "postgresqlPassword" not in VALUES["postgresql"]


def test_every_variable_is_known_and_every_one_that_is_needed_is_set() -> None:
    settings = set(by_kind("ConfigMap")["arrow-ingest"]["data"])
    secrets = {name: set(secret["stringData"]) for name, secret in by_kind("Secret").items()}
    run = settings | secrets["arrow-ingest-lake"]
    code = settings | secrets["arrow-ingest-alerts"]
    assert run | code <= known.PROCESSES
    assert run >= known.PACKAGED
    assert run >= known.LIBPQ | known.AWS
    assert known.PACKAGED | {environment.ALERT_URLS} <= code
    assert not (known.LIBPQ | {"AWS_SECRET_ACCESS_KEY"}) & code
    assert not settings & set().union(*secrets.values())


def test_the_code_location_is_started_as_compose_starts_it() -> None:
    [deployment] = VALUES["dagster-user-deployments"]["deployments"]
    services = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]
    command = services["code"]["command"]
    # The chart's template puts `dagster api grpc`, host and port before the arguments.
    assert command[:3] == ["dagster", "api", "grpc"]
    assert command[-2:] == deployment["dagsterApiGrpcArgs"]
    assert command[command.index("--port") + 1] == str(deployment["port"])
    assert [source["name"] for source in deployment["envConfigMaps"]] == ["arrow-ingest"]
    assert [source["name"] for source in deployment["envSecrets"]] == ["arrow-ingest-alerts"]


def test_dagsters_intervals_and_storage_are_those_of_docker() -> None:
    settings = yaml.safe_load((DOCKER / "dagster.yaml").read_text())
    coordinator = settings["run_coordinator"]["config"]
    given = VALUES["dagsterDaemon"]["runCoordinator"]["config"]["queuedRunCoordinator"]
    assert {snake(name): value for name, value in given.items()} == coordinator
    monitoring = {snake(name): value for name, value in VALUES["dagsterDaemon"]["runMonitoring"].items()}
    assert monitoring == settings["run_monitoring"] | {"start_timeout_seconds": 300}
    assert VALUES["postgresql"]["postgresqlScheme"] == settings["storage"]["postgres"]["postgres_db"]["scheme"]
    for part in ("sensors", "schedules"):
        assert {snake(name): value for name, value in VALUES["dagsterDaemon"][part].items()} == settings[part]
    kept = VALUES["retention"]["sensor"]["purgeAfterDays"]
    assert settings["retention"]["sensor"]["purge_after_days"].items() <= kept.items()
    schedules = set(VALUES["retention"]["schedule"]["purgeAfterDays"].values())
    assert schedules == {settings["retention"]["schedule"]["purge_after_days"]}


def test_dagsters_home_is_a_folder_of_the_image_without_settings() -> None:
    home = VALUES["global"]["dagsterHome"]
    _, _, image = stages((DOCKER / "Dockerfile").read_text())
    assert f" {home} " in of(image, "RUN")[0].text
    assert f"DAGSTER_HOME={home}" not in of(image, "ENV")[0].words


def snake(name: str) -> str:
    return re.sub(r"([A-Z])", r"_\1", name).lower()
