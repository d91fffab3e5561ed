"""The lake's files on a real S3 server: the same table and guarantees as on a disk, by a key that may not delete."""

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from arrow_ingest.config import LakeConfig, PipelineConfig
from arrow_ingest.demo.broker import EmbeddedBroker
from arrow_ingest.errors import ConfigError, StatementRefused
from arrow_ingest.lake.findings import Code
from arrow_ingest.lake.probe import probe_data_path
from arrow_ingest.lake.session import open_lake
from arrow_ingest.producer.arrow import ArrowProducer
from arrow_ingest.producer.events import EventGenerator
from arrow_ingest.stack.s3 import S3Server
from arrow_ingest.stack.s3_request import send
from arrow_ingest.values import Point, Receipt
from arrow_ingest_tests.cli_project import CliProject, cli_project
from arrow_ingest_tests.conftest import PROGRAMS
from arrow_ingest_tests.lake_contents import (
    PARTITIONS,
    assert_holds_exactly,
    assert_verified,
    crash_drain_command,
    drain_in_a_process,
    drained,
    pipeline,
    produce,
    query,
)
from arrow_ingest_tests.s3_proxy import S3Proxy
from arrow_ingest_tests.stack.s3_lakes import (
    MESSAGES,
    PART_BYTES,
    PREFIX,
    S3Place,
    events,
    produce_large,
    s3_pipeline,
    set_aws,
    verified,
)

pytestmark = pytest.mark.stack


@pytest.fixture
def place(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Place:
    """A bucket, which the environment's key may not delete from."""
    set_aws(monkeypatch, s3.environ(s3.ingest))
    return S3Place(s3, s3.new_bucket())


@pytest.fixture
def config(tmp_path: Path, broker: EmbeddedBroker, topic: Any, place: S3Place) -> PipelineConfig:
    return s3_pipeline(tmp_path, broker.bootstrap_servers, topic(partitions=PARTITIONS), place)


@pytest.fixture
def generator() -> EventGenerator:
    return events()


@pytest.fixture
def proxy(place: S3Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Proxy]:
    """What the environment takes for the server, and passes everything on."""
    with S3Proxy(place.server.endpoint) as running:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", running.endpoint)
        yield running


def test_every_row_arrives_once_and_only_below_the_prefix(
    tmp_path: Path, config: PipelineConfig, place: S3Place, generator: EventGenerator, catalog: str
) -> None:
    lake = LakeConfig.model_validate(place.lake(tmp_path, catalog))
    config = config.model_copy(update={"lake": lake})
    produce(config, generator, range(MESSAGES))
    commits = drained(config)
    assert len(commits) > 1
    assert_holds_exactly(config, generator, MESSAGES)
    assert_verified(config)
    objects = place.objects()
    assert len(objects) == sum(receipt.files for receipt in commits)
    assert sum(file.stat().st_size for file in objects) == sum(receipt.bytes_on_disk for receipt in commits)
    table = place.folder / PREFIX / "main" / "events"
    assert {file.relative_to(table).parts[:2] for file in objects} == {("year=2026", "month=11")}


def test_a_drain_only_puts_and_gets_objects(config: PipelineConfig, generator: EventGenerator, proxy: S3Proxy) -> None:
    """No bucket is made, no marker of a directory, no copy, and nothing is deleted."""
    produce(config, generator, range(MESSAGES))
    drained(config)
    methods = {request.split(" ")[0] for request in proxy.requests}
    assert methods == {"PUT", "HEAD", "GET"}
    assert all(request.endswith(".parquet") for request in proxy.requests)


def test_dead_letters_are_kept_beside_the_rows(config: PipelineConfig, generator: EventGenerator) -> None:
    batch = generator.batch(0, 5)
    other_type = batch.set_column(0, batch.schema.names[0], pa.array([1.5] * 5))
    with ArrowProducer(config.kafka.topic, {"bootstrap.servers": config.kafka.bootstrap_servers}) as producer:
        producer.send(batch, partition=0)
        producer.send(other_type, partition=0)
    [receipt] = drained(config)
    assert (receipt.tally.rows, receipt.tally.dead) == (5, 1)
    assert query(config, 'SELECT "offset" FROM lake.main.events__dead_letters').to_pylist() == [{"offset": 1}]
    assert_verified(config)


@pytest.mark.parametrize(
    ("point", "occurrence"),
    [
        (Point.STAGED, 1),
        (Point.FENCED, 2),
        (Point.FILES_ADDED, 1),
        (Point.LEDGER_WRITTEN, 2),
        (Point.COMMITTED, 1),
    ],
)
def test_kill_at_labelled_point_loses_and_repeats_nothing(
    config: PipelineConfig, generator: EventGenerator, point: Point, occurrence: int
) -> None:
    produce(config, generator, range(MESSAGES))
    crashed = drain_in_a_process(config, point.value, str(occurrence))
    assert crashed.returncode == -signal.SIGKILL, crashed.stderr
    drained(config)
    assert_holds_exactly(config, generator, MESSAGES)
    assert_verified(config)


def copies(receipts: list[Receipt]) -> dict[str, int]:
    """Bytes copied by cause, over all commits."""
    found: dict[str, int] = {}
    for receipt in receipts:
        for cause, size in receipt.copies.by_cause.items():
            found[cause] = found.get(cause, 0) + size
    return found


def test_no_byte_is_copied_for_s3_that_is_not_for_a_disk(
    tmp_path: Path, config: PipelineConfig, generator: EventGenerator
) -> None:
    local = pipeline(tmp_path / "local", config.kafka.bootstrap_servers, config.kafka.topic, name="local")
    produce(config, generator, range(MESSAGES))
    assert copies(drained(config)) == copies(drained(local))


# Large files


@pytest.fixture
def large(config: PipelineConfig) -> PipelineConfig:
    """Files of several parts, one per micro-batch."""
    flush = config.flush.model_copy(update={"max_bytes": 64 * 2**20})
    return config.model_copy(update={"flush": flush, "parquet": config.parquet.model_copy(update={"threads": 1})})


def assert_holds_large(config: PipelineConfig, messages: int) -> None:
    rows = "count(*) AS n, count(DISTINCT _kafka_offset) AS messages, sum(octet_length(noise)) AS bytes"
    found = query(config, f"SELECT {rows} FROM lake.main.events").to_pylist()
    assert found == [{"n": messages, "messages": messages, "bytes": messages * 2**21}]
    assert_verified(config)


def test_a_large_file_is_uploaded_in_parts_without_a_copy(
    large: PipelineConfig, place: S3Place, proxy: S3Proxy
) -> None:
    produce_large(large, 18)
    receipts = drained(large)
    assert max(file.stat().st_size for file in place.objects()) > 2 * PART_BYTES
    assert any("partNumber=3" in request for request in proxy.requests)
    assert sum(receipt.copies.copied_bytes for receipt in receipts) == 0
    assert_holds_large(large, 18)


def test_kill_amid_an_upload_commits_nothing_and_the_next_run_reads_it_again(
    large: PipelineConfig, place: S3Place, proxy: S3Proxy
) -> None:
    produce_large(large, 18)
    second_part = proxy.be_silent("PUT", "partNumber=2", times=1)
    with subprocess.Popen(crash_drain_command(large), stdout=subprocess.PIPE, text=True) as child:
        assert second_part.happened.wait(60)
        child.kill()
    assert any(request.endswith("?uploads") for request in proxy.requests)
    assert place.objects() == []
    drained(large)
    assert_holds_large(large, 18)


# Addresses and keys


def test_virtual_host_style(
    tmp_path: Path, broker: EmbeddedBroker, topic: Any, generator: EventGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Both clients take every name below localhost for this machine without asking anybody.
    with S3Server(tmp_path / "s3", programs=PROGRAMS, domain="localhost") as server, S3Proxy(server.endpoint) as proxy:
        set_aws(monkeypatch, server.environ())
        place = S3Place(server, server.new_bucket())
        endpoint = proxy.endpoint.replace("127.0.0.1", "localhost")
        lake = place.lake(tmp_path, endpoint=endpoint, url_style="vhost")
        config = s3_pipeline(tmp_path, broker.bootstrap_servers, topic(partitions=PARTITIONS), place, lake=lake)
        produce(config, generator, range(MESSAGES))
        drained(config)
        assert_holds_exactly(config, generator, MESSAGES)
        assert_verified(config)
    assert not any(place.bucket in request for request in proxy.requests)


def test_keys_and_address_from_a_duckdb_secret(
    tmp_path: Path, config: PipelineConfig, place: S3Place, generator: EventGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    keys = place.server.ingest
    with duckdb.connect() as connection:
        connection.execute("SET autoinstall_known_extensions = false")
        connection.execute(f"LOAD '{httpfs()}'")
        connection.execute(
            "CREATE PERSISTENT SECRET lake_files (TYPE s3, KEY_ID $key, SECRET $secret, ENDPOINT $endpoint, "
            "URL_STYLE 'path', USE_SSL false)",
            {"key": keys.access, "secret": keys.secret, "endpoint": place.server.endpoint.removeprefix("http://")},
        )
    set_aws(monkeypatch, {})
    lake = LakeConfig.model_validate(config.lake.model_dump(by_alias=True) | {"s3": {"secret": "lake_files"}})
    config = config.model_copy(update={"lake": lake})
    produce(config, generator, range(MESSAGES))
    drained(config)
    assert_holds_exactly(config, generator, MESSAGES)
    assert_verified(config)


def httpfs() -> Path:
    """The extension's binary, as a person's own DuckDB would have it."""
    import duckdb_extension_httpfs

    [binary] = Path(duckdb_extension_httpfs.__path__[0]).rglob("httpfs.duckdb_extension")
    return binary


def test_values_that_no_url_takes_name_folders_all_the_same(
    tmp_path: Path, broker: EmbeddedBroker, topic: Any, place: S3Place
) -> None:
    config = s3_pipeline(
        tmp_path, broker.bootstrap_servers, topic(), place, columns={}, partition_by={"column": "team", "unit": "value"}
    )
    teams = ["a/b", "100 %", "?s3_region=x", "*[x]", "größe", "a+b&c=d", "", None]
    with ArrowProducer(config.kafka.topic, {"bootstrap.servers": config.kafka.bootstrap_servers}) as producer:
        producer.send(pa.record_batch({"team": pa.array(teams), "n": pa.array(range(len(teams)))}), partition=0)
    [receipt] = drained(config)
    assert len(receipt.touched) == len(teams)
    found = query(config, "SELECT team FROM lake.main.events ORDER BY n").to_pylist()
    assert [row["team"] for row in found] == teams
    assert query(config, "SELECT n FROM lake.main.events WHERE team = '?s3_region=x'").to_pylist() == [{"n": 2}]
    assert_verified(config)


# Sessions


def test_statements_reach_nothing_outside_the_prefix(
    config: PipelineConfig, place: S3Place, generator: EventGenerator, proxy: S3Proxy
) -> None:
    produce(config, generator, range(1))
    drained(config)
    inside = f"{place.data_path}{place.objects()[0].relative_to(place.folder / PREFIX)}"
    elsewhere = "s3_endpoint=127.0.0.1:1"
    with open_lake(config.lake) as lake:
        assert lake.execute("SELECT count(*) > 0 FROM read_parquet(?)", [inside]) == [(True,)]
        for outside in (
            f"s3://{place.bucket}/other/file.parquet",
            "s3://another-bucket/file.parquet",
            inside.replace("s3://", "s3a://"),
            f"{place.server.endpoint}/{place.bucket}/file.parquet",
            "/etc/hostname",
        ):
            with pytest.raises(StatementRefused, match="disabled by configuration"):
                lake.execute("SELECT * FROM read_parquet(?)", [outside])
        # A URL's own parameters would send the request, signed, to whoever it names.
        asked = len(proxy.requests)
        with pytest.raises(Exception, match="404"):
            lake.execute("SELECT * FROM read_parquet(?)", [f"{inside}?{elsewhere}"])
        assert any(elsewhere.partition("=")[0] in request for request in proxy.requests[asked:])
        for setting in ("enable_external_access = true", "s3_url_compatibility_mode = false", "http_retries = 9"):
            with pytest.raises(StatementRefused, match="locked"):
                lake.execute(f"SET {setting}")


# Verification and commands


def test_an_object_that_is_gone_is_found(config: PipelineConfig, place: S3Place, generator: EventGenerator) -> None:
    produce(config, generator, range(MESSAGES))
    drained(config)
    victim = place.objects()[0]
    victim.unlink()
    [finding] = verified(config).findings
    assert finding.code is Code.FILE_MISSING
    assert finding.detail.startswith(f"s3://{victim.relative_to(place.server.data)}")


def test_an_object_that_was_cut_short_is_found(
    config: PipelineConfig, place: S3Place, generator: EventGenerator
) -> None:
    produce(config, generator, range(MESSAGES))
    drained(config)
    victim = place.objects()[0]
    victim.write_bytes(victim.read_bytes()[:-10])
    assert [finding.code for finding in verified(config).findings] == [Code.FILE_DIFFERS, Code.FILE_UNREADABLE]


@pytest.fixture
def project(tmp_path: Path, broker: EmbeddedBroker, topic: Any, place: S3Place) -> CliProject:
    """A project whose pipeline `shop` has its files on S3."""
    made = cli_project(tmp_path / "project", broker.bootstrap_servers, shop=topic(partitions=PARTITIONS))
    [yaml] = made.folder.rglob("defs.yaml")
    yaml.write_text(yaml.read_text().replace("data_path: lake/data", f"data_path: {place.data_path}"))
    return made


def test_commands_work_over_s3(project: CliProject, place: S3Place, generator: EventGenerator) -> None:
    checks = {check["check"]: check for check in project.json("doctor", "shop")["checks"]}
    assert checks["data path"]["status"] == "ok"
    assert checks["extensions"]["detail"].count("httpfs")
    assert [file.name for file in place.objects()] == [".arrow-ingest-probe"]
    project.run("doctor", "shop")
    assert len(place.objects()) == 1
    config = pipeline(project.folder, *kafka_of(project))
    produce(config, generator, range(MESSAGES))
    project.run("drain", "shop")
    assert project.json("sql", "SELECT count(*) AS n FROM shop") == [{"n": MESSAGES * 50}]
    [report] = project.json("verify", "shop")
    assert (report["ok"], report["rows"]) == (True, MESSAGES * 50)


def kafka_of(project: CliProject) -> tuple[str, str]:
    """Brokers and topic of a project's only pipeline."""
    from arrow_ingest.project import load_pipelines

    [config] = load_pipelines(project.folder)
    return config.kafka.bootstrap_servers, config.kafka.topic


# Rights, maintenance, and DuckDB's own files


def test_three_rights_are_enough(large: PipelineConfig, place: S3Place) -> None:
    """Those that docs/s3.md asks for: uploads in parts, verify and doctor need no others."""
    ingest, maintenance, bucket = place.server.ingest, place.server.maintenance, f"arn:aws:s3:::{place.bucket}"
    allowed = [
        (ingest, ["s3:ListBucket"], bucket),
        (ingest, ["s3:GetObject", "s3:PutObject"], f"{bucket}/{PREFIX}/*"),
        (maintenance, ["s3:*"], bucket),
    ]
    statements = [
        {"Effect": "Allow", "Principal": {"AWS": [keys.access]}, "Action": actions, "Resource": resource}
        for keys, actions, resource in allowed
    ]
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements}).encode()
    send("PUT", place.server.endpoint, f"/{place.bucket}", maintenance, query={"policy": ""}, body=policy)
    produce_large(large, 12)
    drained(large)
    assert max(file.stat().st_size for file in place.objects()) > PART_BYTES
    assert_holds_large(large, 12)
    assert probe_data_path(large.lake) == place.data_path


def test_only_the_maintenance_key_removes_what_no_snapshot_needs(
    config: PipelineConfig, place: S3Place, generator: EventGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    produce(config, generator, range(MESSAGES))
    drained(config)
    orphan = place.objects()[0].with_name("lane-0-orphan.parquet")
    orphan.write_bytes(b"of a run that was killed")
    clean_up = "CALL ducklake_delete_orphaned_files('lake', cleanup_all => true)"
    with open_lake(config.lake) as lake, pytest.raises(ConfigError, match="AccessDenied"):
        lake.execute(clean_up)
    assert orphan.exists()
    set_aws(monkeypatch, place.server.environ(place.server.maintenance))
    with open_lake(config.lake) as lake:
        assert len(lake.execute(clean_up)) == 1
    assert not orphan.exists()
    assert_holds_exactly(config, generator, MESSAGES)
    assert_verified(config)


@pytest.fixture
def inserting(tmp_path: Path, broker: EmbeddedBroker, topic: Any, place: S3Place) -> PipelineConfig:
    return s3_pipeline(tmp_path, broker.bootstrap_servers, topic(partitions=PARTITIONS), place, writer="insert")


@pytest.mark.parametrize(("point", "occurrence"), [(Point.FILES_ADDED, 1), (Point.COMMITTED, 1)])
def test_inserting_writer_loses_and_repeats_nothing(
    inserting: PipelineConfig, generator: EventGenerator, point: Point, occurrence: int
) -> None:
    produce(inserting, generator, range(MESSAGES))
    crashed = drain_in_a_process(inserting, point.value, str(occurrence))
    assert crashed.returncode == -signal.SIGKILL, crashed.stderr
    drained(inserting)
    assert_holds_exactly(inserting, generator, MESSAGES)
    assert_verified(inserting)


def test_a_rollback_that_may_not_delete_leaves_its_files_and_the_first_error_counts(
    inserting: PipelineConfig, place: S3Place
) -> None:
    with open_lake(inserting.lake) as lake:
        lake.execute("CREATE TABLE lake.main.t (a INTEGER)")
        with pytest.raises(StatementRefused, match="no_such_column"), lake.transaction():  # noqa: PT012
            lake.execute("INSERT INTO lake.main.t FROM range(100)")
            lake.execute("SELECT no_such_column")
        assert len(place.objects()) == 1
        with lake.transaction():
            lake.execute("INSERT INTO lake.main.t FROM range(100)")
        assert lake.execute("SELECT count(*) FROM lake.main.t") == [(100,)]
