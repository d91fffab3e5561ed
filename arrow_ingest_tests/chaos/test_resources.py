"""Full disks, too little memory, a run that stands still: told, nothing half done, and the next run goes on."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from arrow_ingest.config import PipelineConfig
from arrow_ingest.lake.maintenance.report import Outcome
from arrow_ingest.maintenance_settings import Step
from arrow_ingest.producer.events import EventGenerator
from arrow_ingest.stack.postgres import PostgresServer
from arrow_ingest_tests.chaos.small_disk import small_disk
from arrow_ingest_tests.dagster_home import instance_in
from arrow_ingest_tests.lake_contents import (
    assert_holds_exactly,
    assert_verified,
    crash_drain_command,
    drain_in_a_process,
    drained,
    produce,
    query,
)
from arrow_ingest_tests.stack.s3_lakes import assert_holds_large, produce_large
from arrow_ingest_tests.test_dagster_runs import supervised_run, versions
from arrow_ingest_tests.test_maintenance import maintained
from arrow_ingest_tests.test_postgres import end_sessions

pytestmark = [pytest.mark.chaos(faults=1), pytest.mark.timeout(600)]

FEW, MORE = range(8), range(8, 16)


def moved(config: PipelineConfig, **places: str) -> PipelineConfig:
    """The pipeline with its catalog or its files elsewhere."""
    return config.model_copy(update={"lake": config.lake.model_copy(update=places)})


def test_full_disk_under_the_files_is_told_and_the_next_run_goes_on(tmp_path: Path, config: PipelineConfig) -> None:
    with small_disk(tmp_path / "disk", mebibytes=5) as disk:
        config = moved(config, data_path=str(disk.folder / "data"))
        produce_large(config, 4)
        full = drain_in_a_process(config)
        assert full.returncode == 1
        assert "No space left on device" in full.stdout
        disk.resize(64)
        assert drain_in_a_process(config).returncode == 0
        assert_holds_large(config, 4)


def test_full_disk_under_the_catalog_is_told_and_the_next_run_goes_on(
    tmp_path: Path, config: PipelineConfig, generator: EventGenerator
) -> None:
    with small_disk(tmp_path / "disk", mebibytes=4) as disk:
        config = moved(config, catalog=f"sqlite:{disk.folder / 'catalog.sqlite'}")
        produce(config, generator, FEW)
        drained(config)
        produce(config, generator, MORE)
        filler = disk.fill()
        full = drain_in_a_process(config)
        assert full.returncode == 1
        assert full.stdout.startswith(("CatalogUnavailable", "OutcomeUnknown")), full.stdout
        filler.unlink()
        assert drain_in_a_process(config).returncode == 0
        assert_holds_exactly(config, generator, MORE.stop)
        assert_verified(config)


def test_full_disk_for_temporary_files_keeps_no_lane_from_its_work(
    tmp_path: Path, config: PipelineConfig, generator: EventGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    produce(config, generator, FEW)
    with small_disk(tmp_path / "disk", mebibytes=1) as disk:
        disk.fill()
        monkeypatch.setenv("TMPDIR", str(disk.folder))
        done = drain_in_a_process(config)
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert_holds_exactly(config, generator, FEW.stop)


def test_full_disk_under_dagster_fails_the_run_and_the_next_one_publishes(
    tmp_path: Path, config: PipelineConfig, generator: EventGenerator
) -> None:
    produce(config, generator, FEW)
    with small_disk(tmp_path / "disk", mebibytes=8) as disk, instance_in(disk.folder / "home") as instance:
        filler = disk.fill()
        with pytest.raises(Exception, match=r"sqlite3.OperationalError"):  # of SQLAlchemy, which Dagster lets through
            supervised_run(config, instance)
        filler.unlink()
        assert supervised_run(config, instance).success
        newest = query(config, "SELECT max(snapshot_id) AS n FROM lake.arrow_ingest.commits").to_pylist()[0]["n"]
        assert max(versions(config, instance).values()) == newest
    assert_holds_exactly(config, generator, FEW.stop)


def test_too_little_memory_ends_a_run_and_nothing_else(tmp_path: Path, config: PipelineConfig) -> None:
    """Each run gets less to live on, until one has too little; a child that dies takes nothing along."""
    sent = 0
    for limit in range(1_800, 500, -300):
        produce_large(config, 4)
        sent += 4
        ended = subprocess.run(
            ["/usr/bin/prlimit", f"--as={limit * 2**20}", *crash_drain_command(config)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if ended.returncode != 0:
            break
    print(limit, ended.returncode, ended.stdout, ended.stderr)
    assert ended.returncode != 0
    assert_verified(config)
    assert drain_in_a_process(config).returncode == 0
    assert_holds_large(config, sent)


def test_a_run_that_is_stopped_for_longer_than_the_orphan_guard_commits_nothing_that_is_gone(
    config: PipelineConfig, generator: EventGenerator, postgres: PostgresServer
) -> None:
    """As long as its lock lives its files do; once the server has ended its session, neither does it any good."""
    dsn = postgres.new_database()
    config = moved(config, catalog=f"postgres:{dsn}")
    produce(config, generator, FEW)
    drained(config)
    produce(config, generator, MORE)
    committed = set(Path(config.lake.data_path).rglob("*.parquet"))
    with subprocess.Popen(
        crash_drain_command(config, "staged", "wait"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "waiting\n"
        os.kill(run.pid, signal.SIGSTOP)
        try:
            staged = set(Path(config.lake.data_path).rglob("*.parquet")) - committed
            kept = maintained(config, Step.ORPHANS).steps[0]
            assert (kept.outcome, kept.numbers["kept"]) == (Outcome.POSTPONED, len(staged))
            end_sessions(dsn, of="arrow_ingest run")
            assert maintained(config, Step.ORPHANS).steps[0].numbers["files"] == len(staged) > 0
            assert set(Path(config.lake.data_path).rglob("*.parquet")) == committed
        finally:
            os.kill(run.pid, signal.SIGCONT)
        said, _ = run.communicate("\n", timeout=120)
    assert run.returncode == 1
    assert said.startswith("LaneLockLost"), said
    drained(config)
    assert_holds_exactly(config, generator, MORE.stop)
    assert_verified(config)
