"""What a snapshot refers to is on disk before its transaction begins, by the order of system calls."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from arrow_ingest.demo.broker import EmbeddedBroker
from arrow_ingest.producer.events import EventGenerator
from arrow_ingest_tests.chaos.system_calls import Call, traced
from arrow_ingest_tests.lake_contents import (
    PARTITIONS,
    assert_holds_exactly,
    crash_drain_command,
    pipeline,
    produce,
    query,
)

pytestmark = [pytest.mark.chaos(faults=1), pytest.mark.timeout(300)]

MESSAGES = 8


def test_every_registered_file_and_folder_is_synced_before_its_transaction_begins(
    tmp_path: Path, broker: EmbeddedBroker, topic: Callable[..., str]
) -> None:
    generator = EventGenerator(seed=7, now=datetime(2026, 11, 20, 12, tzinfo=UTC), days=3)
    config = pipeline(tmp_path, broker.bootstrap_servers, topic(PARTITIONS))
    produce(config, generator, range(MESSAGES))
    # As a process leaves it that was killed between making a folder and syncing it.
    left = tmp_path / "lake" / "data" / "main" / "events" / "year=2026"
    left.mkdir(parents=True)
    calls = traced(crash_drain_command(config), tmp_path / "trace")
    assert_holds_exactly(config, generator, MESSAGES)
    transactions = [call.began for call in calls if call.name == "flock" and call.path.endswith("transaction.lock")]
    synced = [call for call in calls if call.name in ("fsync", "fdatasync")]
    rows = query(config, "SELECT data_file FROM ducklake_list_files('lake', 'events')")
    files = [Path(file) for file in rows.column(0).to_pylist()]
    assert len(files) > 3, "several commits, one of which makes no folder"
    for file in files:
        commit = _commit_of(file, calls, transactions)
        for path in (file, *file.parents):
            if path == tmp_path:
                break
            # The entry of a file or folder is on disk once what it lies in is synced.
            assert _is_synced(path.parent, synced, after=_made(path, calls), before=commit), f"{path} could be gone"
        assert _is_synced(file, synced, after=0, before=commit), f"{file} could be empty"


def _made(path: Path, calls: list[Call]) -> int:
    """Where a folder was made, or a file was whole; the beginning, for what was there."""
    names = ("mkdir", "fsync") if path.suffix == ".parquet" else ("mkdir",)
    return next((call.began for call in calls if call.name in names and call.path == str(path)), 0)


def _commit_of(file: Path, calls: list[Call], transactions: list[int]) -> int:
    """Where the transaction began that added a file: the last one before the receipt of its micro-batch's commit.

    Receipts are written in the order of commits, as are the numbers of files in one; the name has the commit's id.
    """
    receipts = [call.ended for call in calls if call.name == "write" and '"flushed batch' in call.arguments]
    commits = list(dict.fromkeys(_commit_id(Path(call.path)) for call in calls if _is_staged(call)))
    receipt = receipts[commits.index(_commit_id(file))]
    return max(began for began in transactions if began < receipt)


def _is_staged(call: Call) -> bool:
    return call.name == "fsync" and call.path.endswith(".parquet")


def _commit_id(file: Path) -> str:
    return "-".join(file.stem.split("-")[2:7])


def _is_synced(path: Path, synced: list[Call], *, after: int, before: int) -> bool:
    return any(call.path == str(path) and after <= call.began and call.ended < before for call in synced)
