"""The lake's files on a real S3 server: the same table and guarantees as on a disk, by a key that may not delete."""

import subprocess
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from arrow_ingest.config import PipelineConfig
from arrow_ingest.demo.broker import EmbeddedBroker
from arrow_ingest.errors import StatementRefused
from arrow_ingest.lake.findings import Code
from arrow_ingest.lake.session import open_lake
from arrow_ingest.producer.arrow import ArrowProducer
from arrow_ingest.producer.events import EventGenerator
from arrow_ingest.values import Receipt
from arrow_ingest_tests.cli_project import CliProject, cli_project
from arrow_ingest_tests.lake_contents import (
    PARTITIONS,
    assert_holds_exactly,
    assert_verified,
    crash_drain_command,
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
    assert_holds_large,
    produce_large,
    verified,
)

pytestmark = pytest.mark.stack


def test_every_row_arrives_once_and_only_below_the_prefix(
    config: PipelineConfig, place: S3Place, generator: EventGenerator
) -> None:
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
    topics = {"shop": topic(partitions=PARTITIONS)}
    return cli_project(tmp_path / "project", broker.bootstrap_servers, data_path=place.data_path, **topics)


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
