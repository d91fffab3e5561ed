"""The ledger: what is written is read, in order, by pipeline and by table partition."""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from arrow_ingest.config import PipelineConfig
from arrow_ingest.lake import ledger
from arrow_ingest.lake.ledger import LedgerRow, PartitionTotal
from arrow_ingest.lake.session import Lake, open_lake
from arrow_ingest.lake.tables import ensure
from arrow_ingest.values import CommitKind, OffsetRange, Tally, TouchedPartition
from arrow_ingest_tests.lake_writers import pipeline

ROW = LedgerRow(
    commit_id="c-1",
    pipeline="events",
    lane=0,
    generation=2,
    topic_id="topic-id-a",
    ranges=(OffsetRange(0, 5, 9), OffsetRange(3, 0, 2**40)),
    tally=Tally(messages=7, rows=50, empty=1, dead=2, nulled=3),
    touched=(TouchedPartition("2026-11-04", 40, 2, 900), TouchedPartition(None, 10, 1, 100)),
    kind=CommitKind.INGEST,
    run_id="run",
    committed_at=datetime(2026, 11, 4, 2, 3, 4, 567890, tzinfo=UTC),
)


_numbers = itertools.count()


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> PipelineConfig:
    return pipeline(tmp_path_factory.mktemp("ledger"))


@pytest.fixture(scope="module")
def lake(config: PipelineConfig) -> Iterator[Lake]:
    """One lake for all tests here: each has a pipeline of its own in it."""
    with open_lake(config.lake) as opened:
        ensure(opened, config)
        yield opened


@pytest.fixture
def row() -> LedgerRow:
    """A row of a new pipeline."""
    number = next(_numbers)
    return replace(ROW, pipeline=f"pipeline{number}", commit_id=f"commit-{number}")


def append(lake: Lake, *rows: LedgerRow) -> list[int]:
    """Each in a transaction of its own; their snapshots."""
    snapshots = []
    for row in rows:
        with lake.transaction():
            ledger.append(lake, row)
        snapshots += [lake.execute("SELECT id FROM ducklake_last_committed_snapshot('lake')")[0][0]]
    return snapshots


def as_written(entry: ledger.LedgerEntry | None) -> LedgerRow:
    assert entry is not None
    return LedgerRow(**{name: getattr(entry, name) for name in LedgerRow.__dataclass_fields__})


def test_entry_reads_back_as_it_was_written_with_its_snapshot(lake: Lake, row: LedgerRow) -> None:
    (snapshot,) = append(lake, row)
    found = ledger.find(lake, row.commit_id)
    assert as_written(found) == row
    assert found is not None
    assert found.snapshot_id == snapshot
    assert ledger.find(lake, "never") is None


def test_commits_since_a_snapshot_are_the_later_ones_of_that_pipeline_in_order(lake: Lake, row: LedgerRow) -> None:
    rows = [replace(row, commit_id=f"c-{number}") for number in range(4)]
    first, second, _, *later = append(lake, *rows[:2], replace(row, pipeline="other"), *rows[2:])
    since_first = ledger.commits_since(lake, row.pipeline, first)
    assert [entry.commit_id for entry in since_first] == ["c-1", "c-2", "c-3"]
    assert [entry.snapshot_id for entry in ledger.commits_since(lake, row.pipeline, 0)] == [first, second, *later]


def test_last_commits_come_newest_first(lake: Lake, row: LedgerRow) -> None:
    append(lake, *(replace(row, commit_id=f"c-{number}") for number in range(3)))
    assert [entry.commit_id for entry in ledger.last_commits(lake, row.pipeline, 2)] == ["c-2", "c-1"]
    assert ledger.last_commits(lake, "never started", 2) == ()


def test_partition_totals_add_up_over_commits_and_lanes(lake: Lake, row: LedgerRow) -> None:
    other_lane = replace(row, lane=1, touched=(TouchedPartition("2026-11-04", 1, 1, 11),))
    gap = replace(row, kind=CommitKind.GAP, touched=())
    first, second, *_ = append(lake, row, other_lane, replace(row, pipeline="foreign"), gap)
    day, null = PartitionTotal(41, 3, 911, second), PartitionTotal(10, 1, 100, first)
    assert ledger.partition_totals(lake, row.pipeline) == {"2026-11-04": day, None: null}
    assert ledger.partition_totals(lake, row.pipeline, [None, "2026-01-01"]) == {None: null}
    assert ledger.partition_totals(lake, row.pipeline, []) == {}


def test_snapshot_of_a_row_is_exact_after_flush_merge_and_expiry(lake: Lake, row: LedgerRow) -> None:
    snapshots = append(lake, row, row, row)
    lake.execute("CALL ducklake_flush_inlined_data('lake')")
    lake.execute("CALL ducklake_merge_adjacent_files('lake')")
    lake.execute("CALL ducklake_expire_snapshots('lake', older_than => now())")
    assert [entry.snapshot_id for entry in ledger.commits_since(lake, row.pipeline, 0)] == snapshots


def test_ledger_makes_no_file(lake: Lake, config: PipelineConfig, row: LedgerRow) -> None:
    append(lake, *[row] * 12)
    assert not list(Path(config.lake.data_path).rglob("*.parquet"))


def test_times_are_the_same_instants_under_another_time_zone(
    config: PipelineConfig, lake: Lake, row: LedgerRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(lake, row)
    monkeypatch.setenv("TZ", "America/Los_Angeles")
    with open_lake(config.lake, read_only=True) as reader:
        assert as_written(ledger.find(reader, row.commit_id)) == row
