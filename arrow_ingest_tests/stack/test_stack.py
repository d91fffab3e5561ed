"""The stack itself: it starts empty, points clients at itself, brings its programs once, and ends with its parent."""

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pyarrow.fs as pafs
import pytest

from arrow_ingest.errors import MissingPart
from arrow_ingest.stack import programs
from arrow_ingest.stack.kafka import KafkaCluster
from arrow_ingest.stack.postgres import PostgresServer
from arrow_ingest.stack.s3 import S3Server
from arrow_ingest.stack.s3_request import Keys
from arrow_ingest_tests.conftest import PROGRAMS
from arrow_ingest_tests.kafka_records import wait_for

pytestmark = pytest.mark.stack


@contextmanager
def stack_in_the_foreground(folder: Path, **variables: str) -> Iterator["subprocess.Popen[str]"]:
    """``python -m arrow_ingest.stack`` over programs that are there already, which fixtures see to."""
    (folder / "programs").symlink_to(PROGRAMS)
    command = [sys.executable, "-m", "arrow_ingest.stack", "--dir", str(folder)]
    environment = {**os.environ, **variables}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        try:
            yield running
        finally:
            running.kill()


@pytest.fixture
def in_foreground(
    kafka: KafkaCluster, s3: S3Server, postgres: PostgresServer, tmp_path: Path
) -> Iterator["subprocess.Popen[str]"]:
    with stack_in_the_foreground(tmp_path) as running:
        yield running


def exported(running: "subprocess.Popen[str]") -> dict[str, str]:
    """The variables that the stack prints when it serves."""
    assert running.stdout is not None
    assert running.stderr is not None
    assert "until Ctrl-C" in running.stderr.readline()
    found = {}
    while "AWS_ENDPOINT_URL_S3" not in found:
        name, _, value = running.stdout.readline().removeprefix("export ").partition("=")
        [found[name]] = shlex.split(value)
    return found


def servers_of(pid: int) -> list[int]:
    """The process ids of the children of a process."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_stack_in_the_foreground_says_where_it_is_and_ends_with_its_servers(
    in_foreground: "subprocess.Popen[str]", number: signal.Signals
) -> None:
    found = exported(in_foreground)
    assert found["KAFKA_BOOTSTRAP_SERVERS"].startswith("127.0.0.1:")
    assert found["ARROW_INGEST_CATALOG"].startswith("postgres:")
    assert found["ARROW_INGEST_DATA_PATH"].startswith("s3://")
    servers = servers_of(in_foreground.pid)
    assert len(servers) == 3
    in_foreground.send_signal(number)
    assert in_foreground.wait(60) == (0 if number != signal.SIGKILL else -signal.SIGKILL)
    wait_for(lambda: not any(is_alive(pid) for pid in servers))


def test_a_given_postgresql_is_used_instead_of_one_of_its_own(
    kafka: KafkaCluster, s3: S3Server, postgres: PostgresServer, tmp_path: Path
) -> None:
    with stack_in_the_foreground(tmp_path, ARROW_INGEST_STACK_POSTGRES=postgres.dsn()) as running:
        catalog = exported(running)["ARROW_INGEST_CATALOG"]
        assert f"port={postgres.port}" in catalog
        assert len(servers_of(running.pid)) == 2
        with psycopg.connect(catalog.removeprefix("postgres:")) as connection:
            assert connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone() == (0,)


def client(s3: S3Server, keys: Keys) -> pafs.S3FileSystem:
    return pafs.S3FileSystem(
        access_key=keys.access, secret_key=keys.secret, endpoint_override=s3.endpoint, region="us-east-1"
    )


def test_ingest_key_may_write_read_and_list_and_only_the_maintenance_key_may_delete(s3: S3Server) -> None:
    file = f"{s3.new_bucket()}/prefix/large.bin"
    ingest, maintenance = client(s3, s3.ingest), client(s3, s3.maintenance)
    with ingest.open_output_stream(file) as output:  # of several parts
        output.write(bytes(12 * 2**20))
    assert ingest.get_file_info(pafs.FileSelector(os.path.dirname(file)))[0].size == 12 * 2**20  # noqa: PTH120
    with pytest.raises(OSError, match="ACCESS_DENIED"):
        ingest.delete_file(file)
    assert (s3.data / file).stat().st_size == 12 * 2**20
    maintenance.delete_file(file)
    assert not (s3.data / file).exists()


def test_each_bucket_is_closed_to_who_has_no_key_of_it(s3: S3Server) -> None:
    bucket = s3.new_bucket()
    with pytest.raises(OSError, match=r"ACCESS_DENIED|INVALID_ACCESS_KEY_ID|SIGNATURE"):
        client(s3, Keys("ingest", "another secret")).get_file_info(pafs.FileSelector(bucket))


def test_programs_that_are_there_ask_nobody(kafka: KafkaCluster, s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert list(programs.kafka(PROGRAMS).glob("kafka_2.13-4.*.jar"))
    assert programs.versitygw(PROGRAMS).stat().st_mode & 0o100


@pytest.mark.parametrize(
    ("bring", "command"),
    [(programs.kafka, "apt install maven"), (programs.versitygw, "golang-go"), (programs.java, "jre-headless")],
)
def test_a_missing_program_is_named_with_the_command_that_brings_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bring: object, command: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert callable(bring)
    with pytest.raises(MissingPart, match=command):
        bring()


SLOW_GO = """#!/bin/sh
echo "$@" >>"$0.log"
printf half >"$GOBIN/versitygw"
/bin/sleep 0.3
printf whole >"$GOBIN/versitygw"
"""
BRING = (
    "import sys, pathlib; from arrow_ingest.stack import programs as p; print(p.versitygw(pathlib.Path(sys.argv[1])))"
)


def test_two_processes_that_want_a_program_at_once_build_it_once_and_both_find_it_whole(tmp_path: Path) -> None:
    go = tmp_path / "go"
    go.write_text(SLOW_GO)
    go.chmod(0o755)
    command = [sys.executable, "-c", BRING, str(tmp_path)]
    environment = {**os.environ, "PATH": str(tmp_path)}
    both = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    [binary] = {process.communicate(timeout=60)[0].strip() for process in both}
    assert Path(binary).read_text() == "whole"
    assert len((tmp_path / "go.log").read_text().splitlines()) == 1
