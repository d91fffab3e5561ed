"""Maintenance of a real lake: every step leaves rows, offsets, time travel and the proof as they were."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from arrow_ingest.config import PipelineConfig
from arrow_ingest.lake.maintenance.report import MaintenanceReport, StepReport
from arrow_ingest.lake.maintenance.run import maintain
from arrow_ingest.maintenance_settings import Step
from arrow_ingest.producer.events import EventGenerator
from arrow_ingest_tests.lake_contents import (
    PARTITIONS,
    assert_holds_exactly,
    assert_verified,
    drained,
    pipeline,
    produce,
)

MESSAGES = 24
TODAY = datetime(2026, 11, 20, 12, tzinfo=UTC)
"""The newest of the three days that the events are of."""

LATER = datetime.now(UTC) + timedelta(days=30)
"""When everything that a test wrote is old."""


@pytest.fixture
def generator() -> EventGenerator:
    return EventGenerator(seed=7, now=TODAY, days=3)


@pytest.fixture
def config(tmp_path: Path, broker: Any, topic: Any, catalog: str) -> PipelineConfig:
    """A pipeline that commits every message by itself, and is tidied as if it were large."""
    return pipeline(
        tmp_path,
        broker.bootstrap_servers,
        topic(partitions=PARTITIONS),
        catalog=catalog,
        flush={"max_bytes": 1},
        maintenance={
            "rotate_after": 5,
            "lock_wait_seconds": 0,
            "snapshots": {"keep_count": 5},
            "ledger": {"volume_commits": 10},
        },
    )


def maintained(
    config: PipelineConfig, *only: Step, now: datetime = LATER, dry_run: bool = False, **arguments: Any
) -> MaintenanceReport:
    report = maintain(config, run_id="maintenance", now=now, only=only or None, is_dry_run=dry_run, **arguments)
    assert report.ok, report.steps
    return report


def step(report: MaintenanceReport, wanted: Step) -> StepReport:
    return next(found for found in report.steps if found.step is wanted)


def test_everything_at_once_changes_no_row_and_proves_itself(config: PipelineConfig, generator: EventGenerator) -> None:
    produce(config, generator, range(MESSAGES))
    drained(config)
    report = maintained(config)
    print(report)
    assert_holds_exactly(config, generator, MESSAGES)
    assert_verified(config)
    again = maintained(config)
    print(again)
    assert_holds_exactly(config, generator, MESSAGES)
    assert_verified(config)
    produce(config, generator, range(MESSAGES, MESSAGES + 4))
    drained(config)
    assert_holds_exactly(config, generator, MESSAGES + 4)
    assert_verified(config)
    print(maintained(config))
    assert_holds_exactly(config, generator, MESSAGES + 4)
    assert_verified(config)
