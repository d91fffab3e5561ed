"""The servers of `docker/compose.yaml` as the stack has them, set up by the scripts that Compose would run.

Kafka gets the compose file's settings, PostgreSQL its databases and roles from `databases.sql`, the S3 server the
bucket, keys and policies of `docker/minio/`. MinIO's own script cannot run here: it needs MinIO's client.
"""

import faulthandler
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arrow_ingest.stack import programs
from arrow_ingest.stack.kafka import KafkaCluster
from arrow_ingest.stack.postgres import PostgresServer
from arrow_ingest.stack.s3 import S3Server
from arrow_ingest.stack.s3_request import Keys, send
from arrow_ingest_tests.conftest import PROGRAMS, needed
from arrow_ingest_tests.docker.compose import DOCKER

BUCKET = "ducklake"
SCRIPT_SECONDS = 90.0

PLACED = {
    "KAFKA_NODE_ID", "KAFKA_PROCESS_ROLES", "KAFKA_LISTENERS", "KAFKA_ADVERTISED_LISTENERS", "KAFKA_LOG_DIRS",
    "KAFKA_CONTROLLER_LISTENER_NAMES", "KAFKA_CONTROLLER_QUORUM_VOTERS", "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP",
}  # fmt: skip
"""What says where a broker is and who it is; the stack has values of its own for it."""


@dataclass(frozen=True, slots=True)
class Servers:
    """What runs, as the services of the compose file that it stands for."""

    kafka: KafkaCluster
    postgres: PostgresServer
    s3: S3Server

    def addresses(self) -> dict[str, str]:
        """What the compose file writes for an address, and what leads there on this machine."""
        return {
            "host=postgres port=5432": f"host=127.0.0.1 port={self.postgres.port}",
            "http://minio:9000": self.s3.endpoint,
            "kafka:9092": self.kafka.bootstrap_servers,
        }


@contextmanager
def running_servers(folder: Path, services: Mapping[str, Any]) -> Iterator[Servers]:
    """Start them, and run what the one-shot services run."""
    with ExitStack() as running:
        settings = broker_settings(services["kafka"]["environment"])
        kafka = running.enter_context(needed(lambda: KafkaCluster(folder / "kafka", 1, settings, programs=PROGRAMS)))
        s3 = running.enter_context(needed(lambda: S3Server(folder / "s3", programs=PROGRAMS)))
        # Everything is logged, so that a password in a statement would be found.
        log = {"log_statement": "all", "log_min_duration_statement": "0"}
        postgres = running.enter_context(needed(lambda: PostgresServer(settings=log, log_file=folder / "postgres.log")))
        make_databases(postgres, services["postgres"]["environment"])
        make_topics(kafka, services["topics"], folder)
        make_bucket(s3, services["buckets"]["environment"])
        yield Servers(kafka, postgres, s3)


def broker_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """A broker's properties by Kafka's image's rule: ``KAFKA_MESSAGE_MAX_BYTES`` is ``message.max.bytes``."""
    given = {name: value for name, value in environ.items() if name.startswith("KAFKA_") and name not in PLACED}
    return {name.removeprefix("KAFKA_").lower().replace("_", "."): value for name, value in given.items()}


def make_databases(postgres: PostgresServer, environ: Mapping[str, str]) -> None:
    """Run `databases.sql` as PostgreSQL's image does."""
    psql = [programs.postgres() / "psql", "-v", "ON_ERROR_STOP=1", "--no-password", "--no-psqlrc", postgres.dsn()]
    subprocess.run(
        [*psql, "-f", DOCKER / "postgres" / "databases.sql"],
        env={**environ, "PATH": os.environ["PATH"]},
        check=True,
        capture_output=True,
        timeout=SCRIPT_SECONDS,
    )


def make_topics(kafka: KafkaCluster, service: Mapping[str, Any], folder: Path) -> None:
    """Run `make-topics.sh` with the tool of Kafka's jars under the name that it has in Kafka's image."""
    tool = folder / "bin" / "kafka-topics.sh"
    tool.parent.mkdir()
    jars = programs.kafka(PROGRAMS)
    java = shlex.join([str(programs.java()), "-cp", f"{jars}/*", "org.apache.kafka.tools.TopicCommand"])
    tool.write_text(f'#!/bin/sh\nexec {java} "$@"\n')
    tool.chmod(0o755)
    environ = {**service["environment"], "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers}
    command = [part.replace("/setup", str(DOCKER / "kafka")) for part in service["command"]]
    for _ in range(2):  # it is run again whenever the stack comes up
        subprocess.run(
            ["/usr/bin/env", *command],
            env={**environ, "PATH": f"{tool.parent}:{os.environ['PATH']}"},
            check=True,
            capture_output=True,
            timeout=SCRIPT_SECONDS,
        )


def make_bucket(s3: S3Server, environ: Mapping[str, str]) -> dict[str, Keys]:
    """The bucket, the two keys and their policies; versitygw attaches policies to buckets, so they name their user."""
    keys = {
        name: Keys(environ[f"{name.upper()}_ACCESS_KEY"], environ[f"{name.upper()}_SECRET_KEY"])
        for name in ("ingest", "maintenance")
    }
    for pair in keys.values():
        s3._administer("create-user", "--access", pair.access, "--secret", pair.secret, "--role", "user")
    s3._administer("create-bucket", "--owner", s3.root.access, "--bucket", BUCKET)
    statements = []
    for name, pair in keys.items():
        policy = json.loads((DOCKER / "minio" / f"{name}-policy.json").read_text())
        statements += [{**statement, "Principal": {"AWS": [pair.access]}} for statement in policy["Statement"]]
    body = json.dumps({"Version": "2012-10-17", "Statement": statements}).encode()
    send("PUT", s3.endpoint, f"/{BUCKET}", s3.root, query={"policy": ""}, body=body)
    return keys


def allow_minutes() -> None:
    """For a test that installs everything or waits for it: the watch for hung libraries ends a run after seven minutes.

    Such a test waits for other processes only, and `pytest.mark.timeout` ends it.
    """
    faulthandler.cancel_dump_traceback_later()


def program_path() -> str:
    """A PATH on which ``dagster`` and ``arrow-ingest`` are those of this Python, as in the image."""
    return f"{Path(sys.executable).parent}:{os.environ['PATH']}"
