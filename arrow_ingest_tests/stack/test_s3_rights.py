"""What each key may do: three rights to ingest, and only maintenance deletes; what DuckDB's rollback makes of it."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from arrow_ingest.config import PipelineConfig
from arrow_ingest.demo.broker import EmbeddedBroker
from arrow_ingest.errors import StatementRefused
from arrow_ingest.lake.maintenance.report import Outcome
from arrow_ingest.lake.maintenance.run import maintain
from arrow_ingest.lake.probe import probe_data_path
from arrow_ingest.lake.session import open_lake
from arrow_ingest.maintenance_settings import Maintenance, Step
from arrow_ingest.producer.events import EventGenerator
from arrow_ingest.stack.s3_request import send
from arrow_ingest_tests.lake_contents import (
    PARTITIONS,
    assert_holds_exactly,
    assert_verified,
    drained,
    produce,
)
from arrow_ingest_tests.stack.s3_lakes import (
    MESSAGES,
    PART_BYTES,
    PREFIX,
    S3Place,
    assert_holds_large,
    produce_large,
    s3_pipeline,
)
from arrow_ingest_tests.worlds import variables_of_s3

pytestmark = pytest.mark.stack


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
    for indices in (range(MESSAGES // 2), range(MESSAGES // 2, MESSAGES)):
        produce(config, generator, indices)
        drained(config)
    orphan = place.objects()[-1].with_name("lane-0-orphan-0.parquet")
    orphan.write_bytes(b"of a run that was killed")
    before = place.objects()
    eager = Maintenance.model_validate({"merge": {"min_files": 1}, "snapshots": {"keep_count": 1}})
    config = config.model_copy(update={"maintenance": eager})
    when = datetime.now(UTC) + timedelta(days=40)
    refused = {
        step.step: step.says
        for step in maintain(config, run_id="may-not-delete", now=when).steps
        if step.outcome is Outcome.FAILED
    }
    assert refused.keys() == {Step.CLEAN_UP, Step.ORPHANS}
    assert all("DeleteObject" in says for says in refused.values()), refused
    assert set(before) < set(place.objects())
    assert_holds_exactly(config, generator, MESSAGES)
    variables_of_s3(monkeypatch, place.server.environ(place.server.maintenance))
    report = maintain(config, run_id="may-delete", now=when)
    assert report.ok, report.steps
    assert not orphan.exists()
    assert len(place.objects()) == report.after.files < len(before)
    assert_holds_exactly(config, generator, MESSAGES)
    assert_verified(config)


@pytest.fixture
def inserting(tmp_path: Path, broker: EmbeddedBroker, topic: Any, place: S3Place) -> PipelineConfig:
    return s3_pipeline(tmp_path, broker.bootstrap_servers, topic(partitions=PARTITIONS), place, writer="insert")


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
