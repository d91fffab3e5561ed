"""doctor: every failure names its setting and what to do."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from arrow_ingest.cli.exits import Exit
from arrow_ingest.config import MIB, KafkaConfig
from arrow_ingest.demo.broker import EmbeddedBroker
from arrow_ingest.errors import LaneSuspended, SuspendReason
from arrow_ingest.kafka.read_probe import silent_partitions
from arrow_ingest.stack.child import free_port
from arrow_ingest.values import TopicState
from arrow_ingest_tests.cli_project import CliProject, cli_project
from arrow_ingest_tests.mock_cluster import MockCluster, record_batch


def checks_of(project: CliProject, exit_code: int) -> dict[str, Any]:
    """What `doctor --json` says, by check."""
    document = project.json("doctor", exit_code=exit_code)
    assert document["ok"] is (exit_code == Exit.OK)
    return {check["check"]: check for check in document["checks"]}


def files_below(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


@pytest.fixture
def project(tmp_path: Path, broker: EmbeddedBroker, topic: Callable[..., str]) -> CliProject:
    return cli_project(tmp_path, broker.bootstrap_servers, clicks=topic(partitions=2))


def test_all_is_well_before_and_after_the_first_run_and_nothing_is_left_behind(project: CliProject) -> None:
    before = files_below(project.folder)
    checks = checks_of(project, Exit.OK)
    assert {check["status"] for check in checks.values()} == {"ok"}
    assert "the first run makes it" in checks["catalog"]["detail"]
    assert files_below(project.folder) == before
    project.run("produce", "--batches", "2", "--rate", "0", "--rows-per-batch", "5")
    project.run("drain")
    before = files_below(project.folder / "lake" / "data")
    checks = checks_of(project, Exit.OK)
    assert checks["catalog"]["detail"] == "attached"
    assert "2 partitions" in checks["topic"]["detail"]
    assert files_below(project.folder / "lake" / "data") == before
    assert "can be written" in project.run("doctor").stdout


def test_a_broker_that_is_down_is_told_soon_and_the_lake_is_checked_all_the_same(tmp_path: Path) -> None:
    project = cli_project(tmp_path, f"127.0.0.1:{free_port()}", clicks="clicks")
    started = time.monotonic()
    checks = checks_of(project, Exit.UNREACHABLE)
    assert time.monotonic() - started < 5.0
    assert (checks["broker"]["status"], checks["broker"]["setting"]) == ("failed", "kafka.bootstrap_servers")
    assert "start the broker" in checks["broker"]["advice"]
    assert {checks[name]["status"] for name in ("topic", "reading", "consumer group")} == {"skipped"}
    assert {checks[name]["status"] for name in ("extensions", "catalog", "data path")} == {"ok"}


def test_a_topic_that_is_missing_is_not_the_brokers_fault(tmp_path: Path, broker: EmbeddedBroker) -> None:
    checks = checks_of(cli_project(tmp_path, broker.bootstrap_servers, clicks="nowhere"), Exit.UNREACHABLE)
    assert checks["broker"]["status"] == "ok"
    assert (checks["topic"]["status"], checks["topic"]["setting"]) == ("failed", "kafka.topic")


def test_a_last_record_that_cannot_be_read_is_met_before_a_run_meets_it() -> None:
    with MockCluster() as cluster:
        cluster.create_topic("clicks")
        cluster.append_raw("clicks", record_batch(b"row", crc=0))
        kafka = KafkaConfig(topic="clicks", bootstrap_servers=cluster.bootstrap_servers)
        topic = TopicState("clicks", "id", low={0: 0}, high={0: 1})
        with pytest.raises(LaneSuspended) as suspended:
            silent_partitions(kafka, topic, group="doctor", max_message_bytes=MIB, timeout_seconds=5)
    assert suspended.value.reason is SuspendReason.CORRUPT_RECORD


def test_settings_that_the_lake_was_not_made_by_are_found(
    project: CliProject, broker: EmbeddedBroker, topic: Callable[..., str]
) -> None:
    project.run("drain")
    cli_project(project.folder, broker.bootstrap_servers, clicks=topic(partitions=1))
    defs = project.folder / "src" / "shop" / "defs" / "clicks" / "defs.yaml"
    defs.write_text(defs.read_text() + "  lanes: 2\n")
    checks = checks_of(project, Exit.USAGE)
    assert (checks["topic"]["setting"], checks["topic"]["status"]) == ("lanes", "failed")
    assert (checks["catalog"]["setting"], checks["catalog"]["status"]) == ("lake.catalog", "failed")
    assert "kafka.topic" in checks["catalog"]["detail"]


def test_a_data_path_that_cannot_be_written_names_the_setting(project: CliProject) -> None:
    (project.folder / "lake").mkdir()
    (project.folder / "lake" / "data").write_text("a file, not a folder")
    checks = checks_of(project, Exit.UNREACHABLE)
    assert (checks["data path"]["status"], checks["data path"]["setting"]) == ("failed", "lake.data_path")
    assert checks["catalog"]["status"] == "ok"
