"""produce, drain, status, sql and inspect over a real broker and a real lake."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from arrow_ingest.cli.signals import stop_on_signals
from arrow_ingest.config import KafkaConfig
from arrow_ingest.demo.broker import EmbeddedBroker
from arrow_ingest.kafka.cluster import Cluster
from arrow_ingest.lake.catalog import catalog_of
from arrow_ingest.project import load_pipelines
from arrow_ingest_tests.cli_project import CliProject, cli_project
from arrow_ingest_tests.worlds import World

MakeTopic = Callable[..., str]


@pytest.fixture
def project(tmp_path: Path, broker: EmbeddedBroker, topic: MakeTopic) -> CliProject:
    return cli_project(tmp_path, broker.bootstrap_servers, clicks=topic(partitions=2))


@pytest.fixture
def anywhere(world: World) -> CliProject:
    """The same project in every world."""
    return cli_project(
        world.tmp_path,
        world.bootstrap_servers,
        catalog=world.catalog,
        data_path=world.data_path,
        clicks=world.new_topic(2),
    )


@pytest.fixture(scope="module")
def drained(broker: EmbeddedBroker, tmp_path_factory: pytest.TempPathFactory) -> CliProject:
    """A project that has committed one small message; tests that share it commit nothing."""
    name = f"cli-{os.getpid()}"
    with Cluster(KafkaConfig(topic=name, bootstrap_servers=broker.bootstrap_servers)) as cluster:
        cluster.create_topic(1)
    project = cli_project(tmp_path_factory.mktemp("drained"), broker.bootstrap_servers, clicks=name)
    produced(project, 1)
    project.run("drain")
    return project


def produced(project: CliProject, batches: int, *arguments: str) -> int:
    """Rows of so many small batches, acknowledged."""
    numbers = project.json("produce", "--batches", str(batches), "--rate", "0", "--rows-per-batch", "20", *arguments)
    return int(numbers["rows"])


def test_what_is_produced_is_drained_and_seen_by_status_and_sql(
    anywhere: CliProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path / "src")
    assert "nothing committed yet" in anywhere.run("status").stdout

    poison = tmp_path / "poison"
    poison.write_bytes(b"not Arrow")
    assert produced(anywhere, 6, "--days", "2", "--payload-file", str(poison)) == 120
    [before] = anywhere.json("status")
    assert (before["committed"], before["lag"]) == (False, 7)

    drain = anywhere.run("drain", "--json")
    assert "flushed batch rows=120 " in drain.stderr
    [lane] = json.loads(drain.stdout)["lanes"]
    assert (lane["messages"], lane["rows"], lane["dead_letters"], lane["error"]) == (7, 120, 1, None)
    [status] = anywhere.json("status")
    assert (status["committed"], status["lag"], status["lanes"][0]["suspended"]) == (True, 0, None)
    assert sum(partition["next"] for partition in status["partitions"]) == 7
    assert status["commits"][0]["snapshot_id"] == lane["snapshot_id"]
    assert "caught up" in anywhere.run("status").stdout

    assert anywhere.json("sql", "SELECT count(*) AS n, min(timestamp) < now() AS past FROM clicks") == [
        {"n": 120, "past": True}
    ]
    assert anywhere.json("sql", "SELECT sum(rows)::INT AS n FROM arrow_ingest.commits") == [{"n": 120}]
    assert "120" in anywhere.run("sql", "SELECT count(*) FROM lake.main.clicks").stdout


def test_a_second_drain_commits_nothing_and_says_so(drained: CliProject) -> None:
    report = drained.json("drain", "clicks")
    assert (report["stopped"], report["lanes"][0]["commits"], report["lanes"][0]["rows"]) == (False, 0, 0)


def test_sql_refuses_what_is_no_query(drained: CliProject) -> None:
    data = drained.folder / "lake" / "data"
    before = sorted(data.rglob("*"))
    for query, said in {
        "DELETE FROM clicks": "only a query can be run here",
        f"COPY (SELECT 1) TO '{data}/main/clicks/x.parquet'": "only a query can be run here",
        "SELECT 1; DROP TABLE clicks": "one query at a time",
        "SELEC": "syntax error",
        "SELECT nothing FROM clicks": "nothing",
        "SELECT * FROM read_parquet('/etc/hostname')": "Permission Error",
        "SELECT * FROM read_text('/etc/hostname')": "read_text() cannot be called here",
        "SELECT * FROM ducklake_cleanup_old_files('lake', cleanup_all => true)": "cleanup_old_files() cannot be called",
        "WITH a AS (FROM clicks) SELECT (SELECT count(*) FROM LAKE.CLEANUP_OLD_FILES()) FROM a": "cleanup_old_files()",
        "SUMMARIZE FROM query('FROM ducklake_expire_snapshots(''lake'', versions => [1])')": "query() cannot be called",
    }.items():
        assert said in drained.run("sql", query, exit_code=2).stderr
    assert sorted(data.rglob("*")) == before


def test_sql_shows_tables_columns_snapshots_and_files(drained: CliProject) -> None:
    for query in (
        "SHOW TABLES",
        "DESCRIBE clicks",
        "SUMMARIZE clicks",
        "SELECT max(snapshot_id) FROM ducklake_snapshots('lake')",
        "SELECT count(*) FROM lake.table_info()",
        "SELECT data_file FROM ducklake_list_files('lake', 'clicks')",
        "SELECT count(*) FROM clicks AT (VERSION => 5), range(2)",
    ):
        assert drained.json("sql", query)


def test_sql_without_a_lake_is_unreachable(project: CliProject) -> None:
    assert "there is no lake" in project.run("sql", "SELECT 1", exit_code=3).stderr


def test_verify_proves_what_is_committed_and_finds_what_is_gone(anywhere: CliProject, world: World) -> None:
    assert "nothing committed yet" in anywhere.run("verify").stdout
    produced(anywhere, 2)
    anywhere.run("drain")
    [report] = anywhere.json("verify", "--full")
    assert (report["ok"], report["broker_asked"], report["findings"]) == (True, True, [])
    assert (report["messages"], report["rows"]) == (2, 40)
    [later] = anywhere.json("verify", "--since", str(report["snapshot"]))
    assert (later["ok"], later["messages"]) == (True, 0)
    world.data_files()[0].unlink()
    [report] = anywhere.json("verify", "clicks", exit_code=1)
    assert [finding["code"] for finding in report["findings"]] == ["file_missing"]
    assert "ERROR file_missing: " in anywhere.run("verify", exit_code=1).stdout


def test_inspect_shows_rows_columns_partitions_and_ddl_of_the_topics_last_messages(project: CliProject) -> None:
    assert "The topic is empty" in project.run("inspect", "clicks").stdout
    produced(project, 4, "--seed", "7")
    outcomes = project.json("inspect", "--last", "10")
    assert [outcome["rows"] for outcome in outcomes] == [20] * 4
    assert outcomes[0]["columns"]["timestamp"] == "string"
    assert [statement.split(" ")[0:2] for statement in outcomes[0]["ddl"]] == [["CREATE", "TABLE"], ["ALTER", "TABLE"]]
    assert outcomes[1]["ddl"] == []
    assert not (project.folder / "lake").exists()
    project.run("drain")
    assert (project.folder / "lake" / "catalog.sqlite").exists()
    assert project.json("inspect")[0]["ddl"] == []
    assert "ALTER" not in project.run("inspect").stdout


def test_inspect_tells_what_would_become_of_files(drained: CliProject, tmp_path: Path) -> None:
    good, poison = tmp_path / "good.arrows", tmp_path / "poison"
    table = pa.table({"uuid": ["a"], "timestamp": ["2026-11-04T02:00:00Z"], "price": pa.array([1.5], pa.float64())})
    with pa.OSFile(str(good), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    poison.write_bytes(good.read_bytes()[:-20])
    result = drained.json("inspect", str(good), str(poison), exit_code=1)
    assert result[0]["partitions"] == {"2026-11-04": 1}
    assert result[0]["ddl"] == ['ALTER TABLE lake."main"."clicks" ADD COLUMN "price" DOUBLE']
    assert result[1]["rejection"]["reason"] == "truncated"
    assert "DEAD LETTER (truncated)" in drained.run("inspect", str(poison), exit_code=1).stdout
    assert "no-such-file" in drained.run("inspect", str(good), "no-such-file", exit_code=2).stderr


def test_a_lane_that_is_drained_elsewhere_is_busy(drained: CliProject) -> None:
    [config] = load_pipelines(drained.folder)
    with catalog_of(config.lake).lane_lock("clicks", 0, holder="other"):
        result = drained.run("drain", exit_code=3)
    assert "other" in result.stderr


def test_a_pipeline_that_cannot_be_drained_does_not_keep_the_others(
    tmp_path: Path, broker: EmbeddedBroker, topic: MakeTopic
) -> None:
    project = cli_project(tmp_path, broker.bootstrap_servers, absent="no-such-topic", clicks=topic())
    produced(project, 2, "clicks")
    report = project.json("drain", exit_code=3)
    assert [lane["rows"] for lane in report["lanes"]] == [0, 40]
    assert "no topic 'no-such-topic'" in report["lanes"][0]["error"]
    assert "which pipeline?" in project.run("produce", exit_code=2).stderr
    assert "there is no lane 1" in project.run("drain", "clicks", "--lane", "1", exit_code=2).stderr


def test_status_without_a_broker_says_what_the_lake_knows(tmp_path: Path) -> None:
    with EmbeddedBroker() as mortal:
        project = cli_project(tmp_path, mortal.bootstrap_servers, clicks="clicks")
        with Cluster(KafkaConfig(topic="clicks", bootstrap_servers=mortal.bootstrap_servers)) as cluster:
            cluster.create_topic(1)
        produced(project, 2)
        project.run("drain")
    result = project.run("status", "--json", exit_code=3)
    [status] = json.loads(result.stdout)
    assert (status["lag"], status["partitions"][0]["next"], status["partitions"][0]["high"]) == (None, 2, None)
    assert result.stderr.startswith("error: no answer from Kafka")
    [report] = project.json("verify")
    assert (report["ok"], report["broker_asked"], report["rows"]) == (True, False, 40)


def test_produce_goes_on_until_it_is_interrupted(project: CliProject) -> None:
    command = [sys.executable, "-m", "arrow_ingest", "produce", "--project", str(project.folder), "--json"]
    running = subprocess.Popen(
        [*command, "--rate", "50", "--rows-per-batch", "1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        while project.json("status")[0]["lag"] == 0:
            assert running.poll() is None, running.stderr
        running.send_signal(signal.SIGINT)
        out, _ = running.communicate(timeout=30)
    finally:
        running.kill()
    assert running.returncode == 0
    assert json.loads(out)["messages"] == project.json("status")[0]["lag"]


def test_first_signal_asks_to_stop_and_the_second_acts_as_before() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stop_on_signals() as stop:
        assert not stop.is_set()
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.is_set()
        assert signal.getsignal(signal.SIGTERM) is before
    assert signal.getsignal(signal.SIGTERM) is before
