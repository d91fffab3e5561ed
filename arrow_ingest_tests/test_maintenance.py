"""Maintenance of a real lake: every step leaves rows, offsets, time travel and the proof as they were."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from arrow_ingest.config import LakeConfig, PipelineConfig
from arrow_ingest.errors import MaintenanceBusy, NothingToMaintain, StatementRefused
from arrow_ingest.lake.catalog import catalog_of
from arrow_ingest.lake.commit import Committer
from arrow_ingest.lake.findings import Code
from arrow_ingest.lake.ledger import commits_since, partition_totals
from arrow_ingest.lake.maintenance.report import MaintenanceReport, Outcome, StepReport
from arrow_ingest.lake.maintenance.run import maintain
from arrow_ingest.lake.session import Lake
from arrow_ingest.maintenance_settings import Step
from arrow_ingest_tests.drained_lake import ROWS, TABLE, Drained
from arrow_ingest_tests.staged_table import by_day, pipeline

COMMITS = 6
DEAD_LETTER_FILES = 4
LATER = datetime.now(UTC) + timedelta(days=40)
"""When everything that a test wrote is old."""

DURING_DAY_FIVE = datetime(2026, 11, 5, 12, tzinfo=UTC)
"""The rows are of 2026-11-04 and 2026-11-05."""

PARTITION_VALUES = "__ducklake_metadata_lake.ducklake_file_partition_value"

EAGER: dict[str, Any] = {
    "rotate_after": 5,
    "lock_wait_seconds": 0,
    "merge": {"min_files": 1},
    "snapshots": {"keep_count": 3},
    "ledger": {"volume_commits": 5},
}


@pytest.fixture
def config(tmp_path: Path) -> PipelineConfig:
    return tidied(tmp_path, f"sqlite:{tmp_path / 'catalog.sqlite'}")


@pytest.fixture
def drained(tmp_path: Path, config: PipelineConfig) -> Iterator[Drained]:
    """A lane of many small commits, for what is the same on every catalog."""
    with many_commits(tmp_path, config) as lane:
        yield lane


@pytest.fixture
def anywhere(tmp_path: Path, catalog: str) -> Iterator[Drained]:
    """The same once per kind of catalog."""
    with many_commits(tmp_path, tidied(tmp_path, catalog)) as lane:
        yield lane


@contextmanager
def many_commits(folder: Path, config: PipelineConfig) -> Iterator[Drained]:
    lane = Drained(folder, config)
    with lane.lake, Committer(config.lake) as lane.committer:
        for number in range(COMMITS):
            lane.commit(2, empty=number % 2, dead=number % 3)
        yield lane


def tidied(folder: Path, catalog: str, **settings: Any) -> PipelineConfig:
    """A pipeline that is tidied as if it were large."""
    place = LakeConfig(catalog=catalog, data_path=str(folder / "data"), table="events")
    return pipeline(folder, lake=place.model_dump(by_alias=True), maintenance=EAGER | settings, **by_day())


def maintained(config: PipelineConfig, *only: Step, now: datetime = LATER, dry_run: bool = False) -> MaintenanceReport:
    report = maintain(config, run_id="maintenance", now=now, only=only or None, is_dry_run=dry_run)
    assert report.ok, report.steps
    return report


def step(report: MaintenanceReport, wanted: Step) -> StepReport:
    return next(found for found in report.steps if found.step is wanted)


def rows(lake: Lake, at: int | None = None) -> pa.Table:
    """The whole table, at a snapshot."""
    version = "" if at is None else f" AT (VERSION => {at})"
    return lake.arrow(f"SELECT * FROM {TABLE}{version} ORDER BY _kafka_partition, _kafka_offset, _kafka_row")


def files_on_disk(config: PipelineConfig) -> dict[str, int]:
    root = Path(config.lake.data_path)
    return {str(path.relative_to(root)): path.stat().st_size for path in root.rglob("*.parquet")}


def test_everything_at_once_changes_no_row_and_proves_itself(anywhere: Drained) -> None:
    config, before = anywhere.config, rows(anywhere.lake)
    totals = partition_totals(anywhere.lake, "events")
    report = maintained(config)
    assert rows(anywhere.lake) == before
    assert anywhere.verify(full=True, strict=True).findings == ()
    assert partition_totals(anywhere.lake, "events") == totals
    assert (report.before.files, report.after.files) == (2 * COMMITS + DEAD_LETTER_FILES, 3)
    assert (report.before.snapshots > report.after.snapshots, report.after.dead_versions) == (True, 0)
    assert [found.step for found in report.steps] == list(Step)
    maintained(config)  # what the first run put aside is summed up by the second
    assert rows(anywhere.lake) == before
    assert anywhere.verify(full=True, strict=True).findings == ()
    again = maintained(config)
    assert {found.outcome for found in again.steps} <= {Outcome.NOTHING, Outcome.DONE}
    assert (again.after.files, again.after.ledger_rows) == (3, 1)
    assert len(files_on_disk(config)) == 3
    anywhere.commit(2, dead=1)
    assert anywhere.verify(full=True, strict=True).findings == ()
    assert rows(anywhere.lake).num_rows == before.num_rows + 4 * ROWS


def test_a_dry_run_says_what_a_run_does_and_changes_nothing(drained: Drained) -> None:
    drained.damage(f"DELETE FROM {TABLE} WHERE n < 5")
    drained.lake.execute("CALL ducklake_merge_adjacent_files('lake', 'events__dead_letters')")
    on_disk = files_on_disk(drained.config)
    [(snapshot,)] = drained.lake.execute("SELECT id FROM ducklake_current_snapshot('lake')")
    planned = maintained(drained.config, dry_run=True)
    assert files_on_disk(drained.config) == on_disk
    assert drained.lake.execute("SELECT id FROM ducklake_current_snapshot('lake')") == [(snapshot,)]
    assert planned.before == planned.after
    assert step(planned, Step.REWRITE).numbers["files"] > 0
    for wanted in (Step.EXPIRE, Step.ROTATE, Step.REWRITE):
        assert step(planned, wanted).outcome is Outcome.PLANNED
        assert maintained(drained.config, wanted).steps[0].numbers == step(planned, wanted).numbers


def test_merging_leaves_the_newest_day_alone(anywhere: Drained) -> None:
    def files_of(day: int) -> int:
        query = "SELECT count(*) FROM ducklake_list_files('lake', 'events') WHERE contains(data_file, ?)"
        return int(anywhere.lake.execute(query, [f"/day={day}/"])[0][0])

    planned = maintained(anywhere.config, Step.MERGE, now=DURING_DAY_FIVE, dry_run=True).steps[0]
    before, newest = rows(anywhere.lake), {name for name in files_on_disk(anywhere.config) if "/day=5/" in name}
    done = maintained(anywhere.config, Step.MERGE, now=DURING_DAY_FIVE).steps[0]
    assert (planned.outcome, done.outcome) == (Outcome.PLANNED, Outcome.DONE)
    assert {name for name in files_on_disk(anywhere.config) if "/day=5/" in name} == newest
    assert (files_of(4) < COMMITS, files_of(5)) == (True, COMMITS)
    assert rows(anywhere.lake) == before
    maintained(anywhere.config, Step.MERGE, now=DURING_DAY_FIVE + timedelta(days=1))
    assert (files_of(4), files_of(5)) == (1, 1)
    by_file = (
        "SELECT list(partition_value ORDER BY partition_key_index) FROM " + PARTITION_VALUES + " GROUP BY data_file_id"
    )
    assert sorted(anywhere.lake.execute(by_file)) == [(["2026", "11", "4"],), (["2026", "11", "5"],)]
    assert anywhere.verify(full=True, strict=True).findings == ()


def test_merged_files_are_compressed_as_the_yaml_says(drained: Drained) -> None:
    maintained(drained.config, Step.MERGE)
    (path,) = {name for name in files_on_disk(drained.config) if "/day=4/ducklake-" in name}
    file = Path(drained.config.lake.data_path) / path
    (codecs,) = drained.lake.execute("SELECT DISTINCT compression FROM parquet_metadata(?)", [str(file)])
    assert codecs == ("ZSTD",)


def test_merging_stops_at_its_bytes_and_goes_on_with_the_next_run(tmp_path: Path, drained: Drained) -> None:
    merging = {"min_files": 1, "target_file_bytes": 10_000, "small_file_bytes": 5_000, "max_bytes": 1}
    bounded = tidied(tmp_path, drained.config.lake.catalog, merge=merging)
    first = maintained(bounded, Step.MERGE).steps[0]
    assert first.outcome is Outcome.POSTPONED
    assert 0 < first.numbers["files_merged"] < COMMITS
    assert maintained(bounded, Step.MERGE).steps[0].numbers["files_merged"] > 0
    assert drained.verify(full=True, strict=True).findings == ()


def test_time_travel_reaches_the_snapshots_that_are_kept(tmp_path: Path, drained: Drained) -> None:
    seen = {
        entry.snapshot_id: rows(drained.lake, entry.snapshot_id) for entry in commits_since(drained.lake, "events", 0)
    }
    keeps = tidied(tmp_path, drained.config.lake.catalog, snapshots={"keep_count": 5})
    maintained(keeps, Step.MERGE, Step.EXPIRE, Step.CLEAN_UP)
    kept = {number for (number,) in drained.lake.execute("SELECT snapshot_id FROM ducklake_snapshots('lake')")}
    assert 0 < len(kept & seen.keys()) < len(seen)
    for snapshot, before in seen.items():
        if snapshot in kept:
            assert rows(drained.lake, snapshot) == before
        else:
            with pytest.raises(StatementRefused, match="No snapshot found"):
                rows(drained.lake, snapshot)


def test_deleted_rows_are_gone_from_the_files_and_are_told_from_lost_ones_for_ever(anywhere: Drained) -> None:
    anywhere.damage(f"DELETE FROM {TABLE} WHERE n IN (3, 4, 5)", author="bob")
    before, missing = rows(anywhere.lake), 2 * 2 * 3 * COMMITS
    done = maintained(anywhere.config, Step.REWRITE).steps[0]
    assert done.numbers["files"] == 2 * COMMITS
    assert rows(anywhere.lake) == before
    assert anywhere.lake.execute(
        "SELECT count(*) FROM ducklake_list_files('lake', 'events') WHERE delete_file <> ''"
    ) == [(0,)]
    for _ in range(3):  # the deleting snapshot expires, then the commits' rows are put aside and summed up
        report = anywhere.verify(full=True)
        assert report.ok
        assert {finding.code for finding in report.findings} == {Code.ROWS_DELETED}
        told = [finding.detail for finding in report.findings]
        assert sum(int(detail.partition("): ")[2].split()[0]) for detail in told) == missing
        assert all("(bob, " in detail for detail in told)
        maintained(anywhere.config)
    assert rows(anywhere.lake) == before


def test_rows_that_vanish_after_their_commit_was_summed_up_are_still_missed(drained: Drained) -> None:
    for _ in range(3):
        maintained(drained.config)
    assert [entry.commits for entry in commits_since(drained.lake, "events", 0)] == [COMMITS]
    drained.damage(f"DELETE FROM {TABLE} WHERE n = 7 AND _kafka_offset = 3")
    drained.lake.execute("CREATE TABLE lake.main.later (a INTEGER)")
    drained.lake.execute("CALL ducklake_expire_snapshots('lake', older_than => now())")
    assert drained.found() == [Code.ROWS_MISSING]


def test_a_gap_in_the_ledger_outlives_its_roll_up(drained: Drained) -> None:
    first = commits_since(drained.lake, "events", 0)[4].commit_id
    drained.lake.execute("DELETE FROM lake.arrow_ingest.commits WHERE commit_id = ?", [first])
    for _ in range(3):
        maintained(drained.config)
    assert len(commits_since(drained.lake, "events", 0)) == 1
    assert Code.LEDGER_GAP in drained.found()


def test_our_own_tables_stay_in_the_catalog_and_shrink(drained: Drained) -> None:
    def inlined_rows() -> int:
        names = drained.lake.execute("SELECT table_name FROM __ducklake_metadata_lake.ducklake_inlined_data_tables")
        counts = [drained.lake.execute(f"SELECT count(*) FROM __ducklake_metadata_lake.{name}") for (name,) in names]
        return sum(int(count) for ((count,),) in counts)

    for _ in range(COMMITS):
        drained.commit(1)
    before = inlined_rows()
    assert before > 4 * COMMITS  # the ledger's rows, and versions of the lane's
    for _ in range(2):
        report = maintained(drained.config)
    assert (report.after.ledger_rows, report.after.dead_versions) == (1, 0)
    for _ in range(4):  # so that no snapshot is kept that still sees what was dropped
        drained.commit(1)
    maintained(drained.config, Step.EXPIRE)
    assert inlined_rows() < 3 * COMMITS
    query = """SELECT count(*) FROM __ducklake_metadata_lake.ducklake_data_file f
        JOIN __ducklake_metadata_lake.ducklake_table t USING (table_id)
        JOIN __ducklake_metadata_lake.ducklake_schema s USING (schema_id) WHERE s.schema_name = 'arrow_ingest'"""
    assert drained.lake.execute(query) == [(0,)]


def orphan(drained: Drained, name: str, *, days: float) -> Path:
    """A file of so many days in the table's folder that no snapshot knows."""
    path = Path(drained.config.lake.data_path) / "main" / "events" / "year=2026" / "month=11" / "day=4" / name
    path.write_bytes(b"PAR1")
    at = datetime.now(UTC).timestamp() - days * 86_400
    os.utime(path, (at, at))
    return path


def test_only_old_files_of_our_own_names_are_orphans(drained: Drained) -> None:
    removed = [
        orphan(drained, f"lane-0-{uuid.uuid4()}-0.parquet", days=8),
        orphan(drained, f"ducklake-{uuid.uuid4()}.parquet", days=8),
        orphan(drained, f"maintenance-{uuid.uuid4()}.parquet", days=8),
    ]
    kept = [
        orphan(drained, f"lane-0-{uuid.uuid4()}-0.parquet", days=6.9),
        orphan(drained, "export.parquet", days=800),
        orphan(drained, f"lane-0-{uuid.uuid4()}-0.parquet.bak", days=800),
    ]
    table = [Path(drained.config.lake.data_path) / name for name in files_on_disk(drained.config) if "lane-0" in name]
    for path in table:
        if path not in removed and path not in kept:
            os.utime(path, (0, 0))
    done = maintained(drained.config, Step.ORPHANS, now=datetime.now(UTC)).steps[0]
    assert (done.outcome, done.numbers["files"]) == (Outcome.DONE, 3)
    assert [path.exists() for path in (*removed, *kept)] == [False] * 3 + [True] * 3
    assert drained.verify(full=True, strict=True).findings == ()


def test_files_of_a_lane_that_is_being_drained_are_nobodys_orphans(drained: Drained) -> None:
    mine = orphan(drained, f"lane-0-{uuid.uuid4()}-0.parquet", days=8)
    other = orphan(drained, f"lane-1-{uuid.uuid4()}-0.parquet", days=8)
    with catalog_of(drained.config.lake).lane_lock("events", 0, holder="a run"):
        report = maintained(drained.config, Step.ORPHANS, Step.ROTATE, now=datetime.now(UTC))
    assert [found.outcome for found in report.steps] == [Outcome.POSTPONED] * 2
    assert (mine.exists(), other.exists()) == (True, False)
    assert maintained(drained.config, Step.ORPHANS, now=datetime.now(UTC)).steps[0].numbers["files"] == 1


def test_one_maintenance_at_a_time(drained: Drained) -> None:
    with (
        catalog_of(drained.config.lake).maintenance_lock(holder="the-first"),
        pytest.raises(MaintenanceBusy, match="the-first"),
    ):
        maintained(drained.config, Step.MERGE)
    maintained(drained.config, Step.MERGE)


def test_of_several_pipelines_the_one_that_keeps_most_counts(tmp_path: Path, drained: Drained) -> None:
    keeps = tidied(tmp_path, drained.config.lake.catalog, snapshots={"keep_days": 400, "keep_count": 1})
    other = keeps.model_copy(update={"name": "others", "lake": keeps.lake.model_copy(update={"table": "others"})})
    other = other.model_copy(update={"kafka": other.kafka.model_copy(update={"topic": "others"})})
    with Drained(tmp_path, other).lake:
        maintained(other, Step.EXPIRE)
    assert maintained(drained.config, Step.EXPIRE).steps[0].outcome is Outcome.NOTHING
    keeps_less = other.model_copy(update={"maintenance": drained.config.maintenance})
    assert maintained(keeps_less, Step.EXPIRE).steps[0].numbers["snapshots"] > COMMITS


def test_a_step_that_fails_keeps_the_others_from_nothing(drained: Drained) -> None:
    broken = Path(drained.config.lake.data_path) / next(
        name for name in files_on_disk(drained.config) if "/day=4/" in name
    )
    broken.write_bytes(broken.read_bytes()[:100])
    report = maintain(drained.config, run_id="maintenance", now=LATER, only=(Step.MERGE, Step.ROTATE))
    assert not report.ok
    assert [found.outcome for found in report.steps] == [Outcome.DONE, Outcome.FAILED]


def test_a_pipeline_that_never_ran_is_not_maintained(tmp_path: Path, config: PipelineConfig) -> None:
    with pytest.raises(NothingToMaintain, match="never started"):
        maintained(config)
