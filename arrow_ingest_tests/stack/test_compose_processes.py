"""The compose stack as plain processes: its commands, environment and set-up, through to materialised partitions."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pyarrow.fs as pafs
import pytest

from arrow_ingest.stack import programs
from arrow_ingest.stack.s3_request import Keys
from arrow_ingest_tests.docker.compose import made_env, services
from arrow_ingest_tests.stack.compose_processes import ComposeProcesses
from arrow_ingest_tests.stack.compose_servers import BUCKET, Servers, allow_minutes, running_servers

pytestmark = [pytest.mark.stack, pytest.mark.timeout(900)]

ROWS_PER_BATCH = 1_000
DEADLINE_SECONDS = 600.0
TABLE = '{path: ["lake", "main", "events_arrow"]}'
RUNS = "{ runsOrError { ... on Runs { results { runId status tags { key value } } } } }"
MATERIALISATIONS = f"""{{ assetNodeOrError(assetKey: {TABLE}) {{ ... on AssetNode {{
  partitionStats {{ numMaterialized }}
  assetMaterializations(limit: 1000) {{
    partition timestamp metadataEntries {{ label ... on IntMetadataEntry {{ intValue }} }}
  }}
}} }} }}"""
CHECKS = f"""{{ assetNodeOrError(assetKey: {TABLE}) {{ ... on AssetNode {{
  assetChecksOrError {{ ... on AssetChecks {{ checks {{ name executionForLatestMaterialization {{ status }} }} }} }}
}} }} }}"""
EVERYTHING = """{
  instance { info hasInfo }
  workspaceOrError { ... on Workspace { locationEntries { name loadStatus locationOrLoadError {
    ... on PythonError { message stack }
    ... on RepositoryLocation { dagsterLibraryVersions { name version } repositories { name pipelines { name runTags {
      key value } } } } } } } }
}"""
EVENTS = """{ logsForRun(runId: "%s", limit: 1000) { ... on EventConnection { events {
  __typename ... on MessageEvent { message level stepKey }
  ... on DisplayableEvent { label description metadataEntries { label description ... on TextMetadataEntry { text } } }
  ... on ErrorEvent { error { message stack } }
} } } }"""


@pytest.fixture
def secrets(tmp_path: Path) -> dict[str, str]:
    """What `make-env` made for this test: what the canary looks for is what the stack runs with."""
    made = made_env(tmp_path)
    return {name: value for name, value in made.items() if name.endswith(("_PASSWORD", "_SECRET_KEY"))}


def values_of(tmp_path: Path, lanes: int) -> dict[str, str]:
    return {**made_env(tmp_path), "ARROW_INGEST_LANES": str(lanes), "BATCHES_PER_SECOND": "0"}


@pytest.fixture(params=[(2, 60), (4, 660)], ids=["two lanes", "four lanes, 660,000 rows"])
def size(request: pytest.FixtureRequest) -> tuple[int, int]:
    lanes, batches = request.param
    return lanes, batches


@pytest.fixture
def servers(size: tuple[int, int], secrets: dict[str, str], tmp_path: Path) -> Iterator[Servers]:
    allow_minutes()
    with running_servers(tmp_path, services(values_of(tmp_path, size[0]))) as running:
        yield running


@pytest.fixture
def processes(size: tuple[int, int], servers: Servers, tmp_path: Path) -> Iterator[ComposeProcesses]:
    with ComposeProcesses(tmp_path, services(values_of(tmp_path, size[0])), servers) as running:
        yield running


def days(processes: ComposeProcesses) -> dict[str, int]:
    """Rows by table partition, as the newest materialisations in Dagster's history say."""
    node = processes.ask(MATERIALISATIONS)["assetNodeOrError"]
    if "assetMaterializations" not in node:  # the webserver has lost the code location for a moment
        return {}
    rows: dict[str, int] = {}
    for event in sorted(node["assetMaterializations"], key=lambda event: float(event["timestamp"])):
        numbers = {entry["label"]: entry.get("intValue") for entry in event["metadataEntries"]}
        rows[event["partition"]] = numbers["dagster/partition_row_count"]
    return rows


def passed(processes: ComposeProcesses) -> set[str]:
    """The checks that passed on what was materialised last."""
    checks = processes.ask(CHECKS)["assetNodeOrError"]["assetChecksOrError"]["checks"]
    newest = {check["name"]: check["executionForLatestMaterialization"] for check in checks}
    return {name for name, execution in newest.items() if execution and execution["status"] == "SUCCEEDED"}


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(2)


def lanes_run(processes: ComposeProcesses) -> set[str]:
    runs = processes.ask(RUNS)["runsOrError"]["results"]
    return {tag["value"] for run in runs for tag in run["tags"] if tag["key"] == "arrow_ingest/lane"}


def test_every_record_is_committed_once_and_every_day_materialised(
    size: tuple[int, int], processes: ComposeProcesses, secrets: dict[str, str], servers: Servers, tmp_path: Path
) -> None:
    lanes, batches = size
    processes.start("producer", "--batches", str(batches))
    wait_for(lambda: sum(days(processes).values()) == batches * ROWS_PER_BATCH)
    assert len(days(processes)) == 3
    assert processes.ask(MATERIALISATIONS)["assetNodeOrError"]["partitionStats"] == {"numMaterialized": 3}
    assert lanes_run(processes) == {str(lane) for lane in range(lanes)}

    [verified] = json.loads(processes.run("cli", "verify", "--full", "--strict", "--json"))
    assert (verified["ok"], verified["broker_asked"]) == (True, True)
    [status] = json.loads(processes.run("cli", "status", "--json"))
    assert (status["lag"], len(status["lanes"])) == (0, lanes)
    wait_for(
        lambda: {"offsets_contiguous", "not_suspended"} <= passed(processes)
    )  # a last publication may be under way
    for service in ("code", "webserver", "daemon"):
        processes.check_health(service)
    assert list((servers.s3.data / BUCKET / "data" / "main" / "events_arrow").rglob("*.parquet"))

    shown = [processes.ask_text(EVERYTHING)]
    shown += [processes.ask_text(EVENTS % run["runId"]) for run in processes.ask(RUNS)["runsOrError"]["results"]]
    assert sum(text.count("MaterializationEvent") for text in shown) >= 3
    processes.stop()
    files = files_written(tmp_path)
    logs = {"code.log", "daemon.log", "webserver.log", "producer.log", "cli.log", "postgres.log", "versitygw.log"}
    assert logs <= {file.name for file in files}
    assert leaks(secrets, [*shown, *dumps(servers)], files) == []


def dumps(servers: Servers) -> list[str]:
    """The lake's catalog and Dagster's storage, whole."""
    command = [programs.postgres() / "pg_dump", "--inserts"]
    return [
        subprocess.run(
            [*command, servers.postgres.dsn(database)], check=True, capture_output=True, text=True, timeout=120
        ).stdout
        for database in ("ducklake", "dagster")
    ]


def files_written(folder: Path) -> list[Path]:
    """What the test wrote, but for docker/.env itself and the S3 server's list of accounts."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".parquet"]
    return [path for path in files if path.name != ".env" and "accounts" not in path.parts]


def leaks(secrets: dict[str, str], texts: list[str], files: list[Path]) -> list[str]:
    """Where which secret shows."""
    assert all(len(secret) == 40 for secret in secrets.values())
    found = [f"{name} in an answer" for name, secret in secrets.items() for text in texts if secret in text]
    for file in files:
        content = file.read_bytes()
        found += [f"{name} in {file}" for name, secret in secrets.items() if secret.encode() in content]
    return found


def test_a_secret_that_shows_would_be_found(tmp_path: Path, secrets: dict[str, str]) -> None:
    log = tmp_path / "deep" / "code.log"
    log.parent.mkdir()
    log.write_text(f"connecting with {secrets['INGEST_SECRET_KEY']}")
    assert leaks(
        secrets, [f"postgresql://dagster:{secrets['DAGSTER_POSTGRES_PASSWORD']}@x"], files_written(tmp_path)
    ) == [
        "DAGSTER_POSTGRES_PASSWORD in an answer",
        f"INGEST_SECRET_KEY in {log}",
    ]


def test_each_role_enters_its_own_database_alone_and_only_the_maintenance_key_deletes(
    tmp_path: Path, secrets: dict[str, str]
) -> None:
    found = services(made_env(tmp_path))
    with running_servers(tmp_path, found) as servers:
        roles = {"ducklake": "DUCKLAKE_POSTGRES_PASSWORD", "dagster": "DAGSTER_POSTGRES_PASSWORD"}
        for role, variable in roles.items():
            for database in roles:
                dsn = servers.postgres.dsn(database, user=role)
                if database == role:
                    with psycopg.connect(dsn, password=secrets[variable]) as connection:
                        connection.execute("CREATE TABLE t (a int)")
                    with pytest.raises(psycopg.OperationalError, match="password"):
                        psycopg.connect(dsn, password="another")  # noqa: S106 - wrong on purpose
                else:
                    with pytest.raises(psycopg.OperationalError, match="permission denied"):
                        psycopg.connect(dsn, password=secrets[variable])
        environ = found["buckets"]["environment"]
        ingest = client(servers, Keys(environ["INGEST_ACCESS_KEY"], environ["INGEST_SECRET_KEY"]))
        maintenance = client(servers, Keys(environ["MAINTENANCE_ACCESS_KEY"], environ["MAINTENANCE_SECRET_KEY"]))
        file = f"{BUCKET}/data/main/events_arrow/x.parquet"
        for allowed in (ingest, maintenance):
            with allowed.open_output_stream(file) as output:
                output.write(b"x")
        with pytest.raises(OSError, match="ACCESS_DENIED"):
            ingest.delete_file(file)
        with pytest.raises(OSError, match="ACCESS_DENIED"):
            ingest.open_output_stream(f"{BUCKET}/elsewhere/x").close()
        maintenance.delete_file(file)
    assert "CREATE TABLE t" in (tmp_path / "postgres.log").read_text()  # statements are logged
    assert leaks(secrets, [], files_written(tmp_path)) == []


def client(servers: Servers, keys: Keys) -> pafs.S3FileSystem:
    return pafs.S3FileSystem(
        access_key=keys.access, secret_key=keys.secret, endpoint_override=servers.s3.endpoint, region="us-east-1"
    )


def test_kafka_takes_its_settings(tmp_path: Path) -> None:
    found: dict[str, Any] = services(made_env(tmp_path))
    with running_servers(tmp_path, found) as servers:
        said = servers.kafka.tool(
            "kafka-configs", "--describe", "--all", "--entity-type", "brokers", "--entity-name", "1"
        )
        for name, value in found["kafka"]["environment"].items():
            if name in {"KAFKA_MESSAGE_MAX_BYTES", "KAFKA_AUTO_CREATE_TOPICS_ENABLE", "KAFKA_REPLICA_FETCH_MAX_BYTES"}:
                setting = name.removeprefix("KAFKA_").lower().replace("_", ".")
                assert f" {setting}={value} " in said, setting
        topic = servers.kafka.tool("kafka-topics", "--describe", "--topic", "test-events-arrow")
        assert "PartitionCount: 8" in topic
        assert "max.message.bytes=17825792" in topic
