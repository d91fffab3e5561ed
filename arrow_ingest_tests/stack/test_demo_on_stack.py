"""The demo over the real systems: what it reports, and what its Dagster shows of four lanes on one day."""

from pathlib import Path

import dagster as dg
import pytest

from arrow_ingest.components.names import Check
from arrow_ingest.stack.kafka import KafkaCluster
from arrow_ingest.stack.s3 import S3Server
from arrow_ingest_tests.conftest import PROGRAMS
from arrow_ingest_tests.test_demo import run_once

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

TABLE = dg.AssetKey(["lake", "main", "events_arrow"])


def test_four_lanes_on_one_day_commit_every_record_once_and_its_check_stays_current(
    kafka: KafkaCluster, s3: S3Server, postgres: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "stack").mkdir()
    (tmp_path / "stack" / "programs").symlink_to(PROGRAMS)  # the fixtures have brought them
    report, _ = run_once(tmp_path, "--stack", "--lanes", "4", "--days", "1", "--batches", "200")
    assert report["produced_rows"] == report["committed_rows"] == 200_000
    assert (report["dead_letters"], report["lag"], report["verify"]) == (0, 0, True)
    assert (report["partitions"], report["bytes_copied"]) == (1, 0)
    assert report["runs"] >= 4
    home = tmp_path / "stack" / "dagster_home"
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    with dg.DagsterInstance.from_config(str(home)) as instance:
        key = dg.AssetCheckKey(TABLE, str(Check.ROWS_ACCOUNTED_FOR))
        [badge] = instance.event_log_storage.get_asset_check_partition_info([key])
        assert badge.latest_target_materialization_storage_id == badge.latest_materialization_storage_id
