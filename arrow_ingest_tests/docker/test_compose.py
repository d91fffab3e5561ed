"""`docker/compose.yaml`: what the Compose specification, its own .env.example and least privilege ask of it."""

import json
import re
import stat
from pathlib import Path
from typing import Any

import check_jsonschema
import jsonschema
import pytest
import yaml

from arrow_ingest import __version__, environment
from arrow_ingest.project import PACKAGED_DEFS
from arrow_ingest_tests.docker import known_variables as known
from arrow_ingest_tests.docker.compose import (
    DOCKER,
    document,
    interpolations,
    made_env,
    services,
    variables_of,
)

SCHEMA = Path(check_jsonschema.__file__).parent / "builtin_schemas" / "vendor" / "compose-spec.json"
"""The specification's own schema, as check-jsonschema keeps a copy of it."""

ONE_SHOT = {"topics", "buckets"}
OURS = {"producer", "code", "webserver", "daemon", "cli", "exporter"}
OTHERS = {"prometheus", "grafana"}
"""What watches, with nothing of ours in it."""
LAKE_KEYS = {"PGPASSWORD", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}


@pytest.fixture
def found(tmp_path: Path) -> dict[str, dict[str, Any]]:
    return services(made_env(tmp_path))


def test_it_is_what_the_compose_specification_says() -> None:
    schema = json.loads(SCHEMA.read_text())
    jsonschema.validate(document(), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document() | {"services": {"a": {"imagee": "x"}}}, schema)


def test_env_example_explains_exactly_what_the_file_takes_from_outside() -> None:
    example = variables_of(DOCKER / ".env.example")
    assert {place.name for place in interpolations()} == set(example)
    for place in interpolations():
        assert place.default is None or place.default == example[place.name], place
    lines = (DOCKER / ".env.example").read_text().splitlines()
    for name in example:
        block = lines[: next(n for n, line in enumerate(lines) if line.startswith(f"{name}="))]
        while block and re.match(r"[A-Z_]+=", block[-1]):
            block.pop()  # a user and its password share one explanation
        assert block[-1].startswith("# "), f"{name} is not explained"


def test_no_secret_stands_in_a_file(tmp_path: Path) -> None:
    example = variables_of(DOCKER / ".env.example")
    secrets = {name for name in example if name.endswith(("_PASSWORD", "_SECRET_KEY"))}
    assert len(secrets) == 6
    assert all(example[name] == "" for name in secrets)
    assert {place.name for place in interpolations() if place.default is None} == secrets | {"DOCKER_GID"}
    for file in DOCKER.rglob("*.yaml"):
        for line in file.read_text().splitlines():
            key, _, value = line.strip().partition(":")
            if re.search(r"PASSWORD$|SECRET_KEY$|SECRET_ACCESS_KEY$|password$", key) and value.strip():
                assert re.fullmatch(r'\$\{\w+:\?[^}]+\}|\{env: \w+\}|""', value.strip()), (file.name, line)


def test_make_env_makes_secrets_once_and_for_the_owner_alone(tmp_path: Path) -> None:
    first = made_env(tmp_path)
    example = variables_of(DOCKER / ".env.example")
    assert set(first) == set(example)
    secrets = [value for name, value in first.items() if name.endswith(("_PASSWORD", "_SECRET_KEY"))]
    assert all(re.fullmatch("[0-9a-f]{40}", secret) for secret in secrets)
    assert len(set(secrets)) == len(secrets)
    assert first["DOCKER_GID"].isdecimal()
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600
    assert made_env(tmp_path) == first


def test_every_variable_is_read_by_somebody(found: dict[str, dict[str, Any]]) -> None:
    for name in OURS:
        assert set(found[name]["environment"]) <= known.PROCESSES, name
    scripts = {
        "topics": (DOCKER / "kafka" / "make-topics.sh").read_text(),
        "postgres": (DOCKER / "postgres" / "databases.sql").read_text(),
        "buckets": (DOCKER / "minio" / "make-bucket.sh").read_text(),
    }
    images = {"postgres": known.POSTGRES_IMAGE, "minio": known.MINIO_IMAGE}
    for name in ("topics", "postgres", "buckets", "minio"):
        for variable in set(found[name]["environment"]) - images.get(name, frozenset()):
            assert re.search(rf"\b{variable}\b", scripts[name]), f"{name}: nobody reads {variable}"
    assert {name for name in found["kafka"]["environment"] if not name.startswith("KAFKA_")} <= known.KAFKA_IMAGE


def test_every_setting_of_ours_reaches_the_containers_that_need_it(found: dict[str, dict[str, Any]]) -> None:
    pipeline = known.PACKAGED - {environment.ALERT_URLS}
    assert {"KAFKA_BOOTSTRAP_SERVERS", "ARROW_INGEST_LANES"} < pipeline
    for name in ("code", "daemon", "cli", "exporter"):
        assert pipeline <= set(found[name]["environment"]), name
    set_elsewhere = {environment.DAGSTER_HOME, environment.ACERO_ALIGNMENT, environment.ARROW_POOL}  # image, process
    not_needed = {environment.STACK_POSTGRES, environment.AWS_SESSION_TOKEN}
    somewhere = {variable for name in OURS for variable in found[name]["environment"]}
    assert known.OURS - set_elsewhere - not_needed <= somewhere
    assert environment.ALERT_URLS in found["code"]["environment"]
    storage = {name for name in known.DAGSTER_YAML if name.startswith("DAGSTER_POSTGRES_")}
    for name in ("code", "daemon", "webserver"):
        assert storage <= set(found[name]["environment"]), name
    for name in ("daemon", "webserver"):
        assert storage < known.DAGSTER_YAML <= set(found[name]["environment"]), name


def test_keys_go_only_where_they_are_needed(found: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    holders = {name for name, service in found.items() if LAKE_KEYS & set(service.get("environment", {}))}
    assert holders == {"daemon", "cli", "exporter"}
    made = variables_of(tmp_path / ".env")
    for name in OURS:
        values = set(found[name]["environment"].values())
        for secret in ("POSTGRES_PASSWORD", "MINIO_ROOT_PASSWORD", "MAINTENANCE_SECRET_KEY"):
            assert made[secret] not in values, f"{name} knows {secret}"
    assert set(found["producer"]["environment"]) == {"KAFKA_BOOTSTRAP_SERVERS"}
    for name, service in found.items():
        has_socket = any("docker.sock" in str(volume) for volume in service.get("volumes", ()))
        assert has_socket == (name in {"daemon", "webserver"}), name


def test_what_watches_comes_only_when_asked_for_and_knows_no_secret(found: dict[str, dict[str, Any]]) -> None:
    assert {name for name, service in found.items() if "monitoring" in service.get("profiles", ())} == {
        "exporter",
        *OTHERS,
    }
    assert "environment" not in found["prometheus"]
    assert set(found["grafana"]["environment"]) <= known.GRAFANA_IMAGE
    assert found["grafana"]["environment"]["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"


def test_images_are_pinned_by_released_tags(found: dict[str, dict[str, Any]]) -> None:
    tags = {name: service["image"].rpartition(":") for name, service in found.items()}
    for name, (image, _, tag) in tags.items():
        pattern = r"RELEASE\.\d{4}-\d{2}-\d{2}T\d{2}-\d{2}-\d{2}Z" if image.endswith("minio") else r"v?\d+\.\d+(\.\d+)?"
        assert re.fullmatch(pattern, tag), (name, tag)
    assert {tags[name][2] for name in OURS} == {__version__}
    assert found["code"]["environment"]["DAGSTER_CURRENT_IMAGE"] == found["code"]["image"]


def test_ports_are_the_proof_of_concepts_and_on_loopback_alone(found: dict[str, dict[str, Any]]) -> None:
    ports = sorted(port for service in found.values() for port in service.get("ports", ()))
    assert ports == [
        "127.0.0.1:3000:3000",
        "127.0.0.1:3001:3000",
        "127.0.0.1:5434:5432",
        "127.0.0.1:9090:9090",
        "127.0.0.1:9100:9000",
        "127.0.0.1:9101:9001",
        "127.0.0.1:9808:9808",
    ]


def test_every_service_is_looked_after(found: dict[str, dict[str, Any]]) -> None:
    for name, service in found.items():
        assert service["init"] is True, name
        assert service["restart"] == ("no" if name == "cli" else "on-failure" if name in ONE_SHOT else "unless-stopped")
        # The code location's check is the image's; producer and command line serve nothing.
        assert name in ONE_SHOT | {"code"} or "healthcheck" in service, name
    for name in OURS | OTHERS:
        assert found[name]["cap_drop"] == ["ALL"]
        assert found[name]["security_opt"] == ["no-new-privileges:true"]


def test_services_wait_for_what_they_use(found: dict[str, dict[str, Any]]) -> None:
    waits = {
        name: {other: how["condition"] for other, how in service.get("depends_on", {}).items()}
        for name, service in found.items()
    }
    for name, others in waits.items():
        for other, condition in others.items():
            assert condition == ("service_completed_successfully" if other in ONE_SHOT else "service_healthy"), name
            assert set(found[other].get("profiles", ())) <= set(found[name].get("profiles", ()))
    assert waits == {
        "kafka": {},
        "topics": {"kafka": "service_healthy"},
        "postgres": {},
        "minio": {},
        "buckets": {"minio": "service_healthy"},
        "producer": {"topics": "service_completed_successfully"},
        "code": {"topics": "service_completed_successfully", "postgres": "service_healthy"},
        "webserver": {"postgres": "service_healthy", "code": "service_healthy"},
        "daemon": {
            "postgres": "service_healthy",
            "buckets": "service_completed_successfully",
            "code": "service_healthy",
        },
        "exporter": {
            "topics": "service_completed_successfully",
            "postgres": "service_healthy",
            "buckets": "service_completed_successfully",
        },
        "prometheus": {"exporter": "service_healthy"},
        "grafana": {"prometheus": "service_healthy"},
        "cli": {
            "topics": "service_completed_successfully",
            "postgres": "service_healthy",
            "buckets": "service_completed_successfully",
        },
    }


def test_data_lies_on_named_volumes_and_what_is_mounted_is_there(found: dict[str, dict[str, Any]]) -> None:
    mounted = [volume.split(":")[0] for service in found.values() for volume in service.get("volumes", ())]
    named = {source for source in mounted if re.fullmatch(r"\w+", source)}
    assert named == set(document()["volumes"]) == {"kafka", "postgres", "minio", "prometheus", "run_logs"}
    for source in set(mounted) - named:
        assert source == "/var/run/docker.sock" or any((DOCKER / source).iterdir()), source


def test_the_table_lies_where_the_proof_of_concept_had_it(found: dict[str, dict[str, Any]]) -> None:
    environ = found["daemon"]["environment"]
    assert environ["ARROW_INGEST_DATA_PATH"] == "s3://ducklake/data/"
    [packaged] = PACKAGED_DEFS.rglob("defs.yaml")
    attributes = yaml.safe_load(packaged.read_text())["attributes"]
    assert (attributes["lake"]["schema"], attributes["lake"]["table"]) == ("main", "events_arrow")
    assert found["topics"]["environment"]["TOPIC"] == attributes["kafka"]["topic"]


def test_16_mib_messages_pass_broker_and_topic(found: dict[str, dict[str, Any]]) -> None:
    environ = found["kafka"]["environment"]
    room = 16 * 2**20 + 64 * 2**10
    assert int(environ["KAFKA_MESSAGE_MAX_BYTES"]) >= room
    assert int(environ["KAFKA_REPLICA_FETCH_MAX_BYTES"]) >= int(environ["KAFKA_MESSAGE_MAX_BYTES"])
    [topic] = re.findall(r"max\.message\.bytes=(\d+)", (DOCKER / "kafka" / "make-topics.sh").read_text())
    assert topic == environ["KAFKA_MESSAGE_MAX_BYTES"]


def test_only_the_maintenance_key_may_delete() -> None:
    actions = {}
    for name in ("ingest", "maintenance"):
        policy = json.loads((DOCKER / "minio" / f"{name}-policy.json").read_text())
        statements = policy["Statement"]
        assert {statement["Effect"] for statement in statements} == {"Allow"}
        actions[name] = {action for statement in statements for action in statement["Action"]}
        [objects] = [statement for statement in statements if "s3:PutObject" in statement["Action"]]
        assert objects["Resource"] == ["arn:aws:s3:::ducklake/data/*"]
    assert actions["maintenance"] - actions["ingest"] == {"s3:DeleteObject"}
    assert not [action for action in actions["ingest"] if "Delete" in action or "*" in action]
