"""What the commit relies on in DuckDB and DuckLake, one fact a test: a version that changes one fails here by name."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from arrow_ingest.config import LakeConfig, PipelineConfig
from arrow_ingest.errors import CatalogUnavailable, StatementRefused
from arrow_ingest.lake.session import Lake, open_lake
from arrow_ingest_tests.lake_writers import DAY, let_go, pipeline, start_python

NULL = "__HIVE_DEFAULT_PARTITION__"
DAY_FOLDER = "year=2026/month=11/day=4"

INSERT_IN_LOCAL_TIME = """
import sys
from arrow_ingest.config import LakeConfig
from arrow_ingest.lake import session
from arrow_ingest.lake.store import store_of
from arrow_ingest.lake.engine import connected
lake = LakeConfig(catalog=sys.argv[1], data_path=sys.argv[2], table="t")
catalog = session.catalog_of(lake)
connection = connected((*catalog.extensions, "ducklake"))
if sys.argv[3] == "local":
    connection.execute("RESET TimeZone")
connection.execute(session._attach_text(catalog, store_of(lake).root, read_only=False))
connection.execute("INSERT INTO lake.main.t VALUES (TIMESTAMPTZ '2026-11-04 02:00:00+00', 1)")
"""


@pytest.fixture
def config(tmp_path: Path) -> PipelineConfig:
    return pipeline(tmp_path)


@pytest.fixture
def lake(config: PipelineConfig) -> Iterator[Lake]:
    with open_lake(config.lake) as opened:
        yield opened


def make(lake: Lake, columns: str = "ts TIMESTAMPTZ, x BIGINT", *, by_day: bool = True) -> None:
    lake.execute(f"CREATE TABLE lake.main.t ({columns})")
    if by_day:
        lake.execute("ALTER TABLE lake.main.t SET PARTITIONED BY (year(ts), month(ts), day(ts))")


def write(config: LakeConfig, path: str, **columns: list[object]) -> str:
    """A file below the table's folder with one row; ``ts`` is DAY unless given."""
    file = Path(config.data_path) / "main" / "t" / path
    file.parent.mkdir(parents=True, exist_ok=True)
    times = pa.array(columns.pop("ts", [DAY]), pa.timestamp("us", "UTC"))
    pq.write_table(pa.table({"ts": times, **columns}), file)
    return str(file)


def add(lake: Lake, *files: str) -> None:
    lake.execute("CALL ducklake_add_data_files('lake', 't', ?, schema => 'main', allow_missing => true)", [list(files)])


def test_null_partition_takes_the_hive_default_name_on_every_level(lake: Lake, config: PipelineConfig) -> None:
    make(lake)
    add(lake, write(config.lake, f"year={NULL}/month={NULL}/day={NULL}/a.parquet", ts=[None], x=[1]))
    assert lake.execute("SELECT ts, x FROM lake.main.t WHERE ts IS NULL") == [(None, 1)]


def test_hive_path_is_trusted_so_splitting_right_is_ours(lake: Lake, config: PipelineConfig) -> None:
    make(lake)
    add(lake, write(config.lake, "year=2026/month=11/day=3/liar.parquet", x=[1]))
    assert lake.execute("SELECT x FROM lake.main.t WHERE day(ts) = 4") == [(1,)]


def test_file_without_hive_path_is_refused_by_a_partitioned_table(lake: Lake, config: PipelineConfig) -> None:
    make(lake)
    with pytest.raises(StatementRefused, match="invalid partition value"):
        add(lake, write(config.lake, "a.parquet", x=[1]))


@pytest.mark.parametrize("name", ["year", "month", "day"])
def test_column_named_like_a_hive_key_is_taken_only_under_another_case(
    lake: Lake, config: PipelineConfig, name: str
) -> None:
    make(lake, f'ts TIMESTAMPTZ, "{name}" VARCHAR')
    with pytest.raises(StatementRefused, match="invalid partition value"):
        add(lake, write(config.lake, f"{DAY_FOLDER}/a.parquet", **{name: ["theirs"]}))
    for file in ("b", "c"):
        add(lake, write(config.lake, f"{DAY_FOLDER}/{file}.parquet", **{name.upper(): ["theirs"]}))
    lake.execute("CALL ducklake_merge_adjacent_files('lake', 't')")
    assert lake.execute(f'SELECT "{name}" FROM lake.main.t WHERE "{name}" = \'theirs\'') == [("theirs",)] * 2


def test_files_of_one_table_partition_merge_when_they_share_its_folder(lake: Lake, config: PipelineConfig) -> None:
    make(lake)
    for number, lane in enumerate((0, 1, 0)):
        add(lake, write(config.lake, f"{DAY_FOLDER}/lane-{lane}-{number}.parquet", x=[number]))
    lake.execute("INSERT INTO lake.main.t VALUES (?, 3)", [DAY])
    lake.execute("CALL ducklake_merge_adjacent_files('lake', 't')")
    assert lake.execute("SELECT x FROM lake.main.t ORDER BY x") == [(0,), (1,), (2,), (3,)]


def test_files_of_one_table_partition_in_two_folders_can_never_be_merged(lake: Lake, config: PipelineConfig) -> None:
    """Why the lane stands in the file's name and not in its path."""
    make(lake)
    for lane in (0, 1):
        add(lake, write(config.lake, f"lane-{lane}/{DAY_FOLDER}/a.parquet", x=[lane]))
    with pytest.raises(CatalogUnavailable, match="different hive partition path"):
        lake.execute("CALL ducklake_merge_adjacent_files('lake', 't')")


def test_same_file_is_taken_twice_so_idempotence_is_the_fences(lake: Lake, config: PipelineConfig) -> None:
    make(lake, by_day=False)
    file = write(config.lake, "a.parquet", x=[1])
    add(lake, file)
    add(lake, file)
    assert lake.execute("SELECT count(*) FROM lake.main.t") == [(2,)]


def test_last_committed_snapshot_is_the_connections_own(lake: Lake, config: PipelineConfig) -> None:
    make(lake)
    ((ours,),) = lake.execute("SELECT id FROM ducklake_last_committed_snapshot('lake')")
    with open_lake(config.lake) as other:
        other.execute("CREATE TABLE lake.main.later (a INTEGER)")
    assert lake.execute("SELECT id FROM ducklake_last_committed_snapshot('lake')") == [(ours,)]
    assert lake.execute("SELECT id FROM ducklake_current_snapshot('lake')") == [(ours + 1,)]


@pytest.mark.parametrize(("zone", "day"), [("utc", 4), ("local", 3)])
def test_timestamptz_is_partitioned_in_the_sessions_time_zone(
    lake: Lake, config: PipelineConfig, monkeypatch: pytest.MonkeyPatch, zone: str, day: int
) -> None:
    make(lake)
    monkeypatch.setenv("TZ", "America/Los_Angeles")
    let_go(start_python(INSERT_IN_LOCAL_TIME, config.lake.catalog, config.lake.data_path, zone))
    assert [path.parent.name for path in Path(config.lake.data_path).rglob("*.parquet")] == [f"day={day}"]


def test_days_are_pruned_by_time(lake: Lake, config: PipelineConfig) -> None:
    make(lake)
    for day in range(3):
        at = DAY + timedelta(days=day)
        folder = f"year={at.year}/month={at.month}/day={at.day}"
        add(lake, write(config.lake, f"{folder}/a.parquet", ts=[at], x=[day]))
    condition = "ts >= TIMESTAMPTZ '2026-11-05 00:00:00+00' AND ts < TIMESTAMPTZ '2026-11-06 00:00:00+00'"
    ((_, read),) = lake.execute(f"EXPLAIN ANALYZE SELECT x FROM lake.main.t WHERE {condition}")
    assert "Total Files Read: 1" in read
    assert lake.execute(f"SELECT x FROM lake.main.t WHERE {condition}") == [(1,)]


def test_deleting_all_rows_of_files_drops_the_files_and_writes_none(lake: Lake, config: PipelineConfig) -> None:
    """What a rebuild rests on: neither COMMIT nor ROLLBACK makes or deletes a file.

    Also where some rows were deleted before; and rows that are added in the same transaction stay.
    """
    make(lake)
    first = [write(config.lake, f"{DAY_FOLDER}/{name}.parquet", ts=[DAY] * 9, x=list(range(9))) for name in "ab"]
    other = write(config.lake, "year=2026/month=11/day=5/c.parquet", ts=[DAY + timedelta(days=1)], x=[99])
    add(lake, *first, other)
    lake.execute("DELETE FROM lake.main.t WHERE filename = ? AND x < 3", [first[0]])
    second = write(config.lake, f"{DAY_FOLDER}/d.parquet", x=[7])
    files = set(Path(config.lake.data_path).rglob("*.parquet"))
    for ends_well in (False, True):
        with suppress(ZeroDivisionError), lake.transaction():
            for file in first:
                lake.execute("DELETE FROM lake.main.t WHERE filename = ?", [file])
            add(lake, second)
            assert ends_well or 1 / 0
        assert set(Path(config.lake.data_path).rglob("*.parquet")) == files
    assert lake.execute("SELECT x FROM lake.main.t ORDER BY x") == [(7,), (99,)]
    listed = lake.execute("SELECT data_file, delete_file FROM ducklake_list_files('lake', 't')")
    assert {file for file, _ in listed} == {second, other}
    assert all(deletes is None for _, deletes in listed)
