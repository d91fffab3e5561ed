"""What maintenance relies on in DuckDB and DuckLake, one fact a test: a version that changes one fails here by name."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from arrow_ingest.config import LakeConfig, PipelineConfig
from arrow_ingest.errors import CommitConflict
from arrow_ingest.lake.session import Lake, open_lake
from arrow_ingest.lake.statistics import METADATA
from arrow_ingest.stack.postgres import PostgresServer
from arrow_ingest_tests.lake_writers import DAY, pipeline
from arrow_ingest_tests.test_lake_facts import DAY_FOLDER, add, make, write

MERGE = "CALL ducklake_merge_adjacent_files('lake', 't', schema => 'main')"


@pytest.fixture
def config(tmp_path: Path, catalog: str) -> PipelineConfig:
    place = LakeConfig(catalog=catalog, data_path=str(tmp_path / "data"), table="t")
    return pipeline(tmp_path, lake=place.model_dump(by_alias=True))


@pytest.fixture
def lake(config: PipelineConfig) -> Iterator[Lake]:
    with open_lake(config.lake) as opened:
        yield opened


@pytest.fixture
def own(config: PipelineConfig) -> Iterator[Lake]:
    """A lake whose schema ``own`` keeps its rows in the catalog, as our own tables do."""
    with own_schema(config.lake) as opened:
        yield opened


@contextmanager
def own_schema(place: LakeConfig) -> Iterator[Lake]:
    """The session is opened after the option is set: options are read at ATTACH."""
    with open_lake(place) as lake:
        lake.execute("CREATE SCHEMA lake.own")
        lake.execute("CALL lake.set_option('data_inlining_row_limit', 1000, schema => 'own')")
    with open_lake(place) as lake:
        lake.execute("CREATE TABLE lake.own.t (x INTEGER)")
        yield lake


def filled(lake: Lake, config: PipelineConfig, count: int = 4) -> list[str]:
    """A table of so many files of one day, each with its number as its row."""
    make(lake)
    paths = [write(config.lake, f"{DAY_FOLDER}/lane-0-{number}.parquet", x=[number]) for number in range(count)]
    for path in paths:
        add(lake, path)
    return paths


def on_disk(config: PipelineConfig) -> set[str]:
    return {path.name for path in Path(config.lake.data_path).rglob("*.parquet")}


def inlined_rows(lake: Lake, schema: str) -> list[int]:
    """Rows of each table that holds inlined rows of a schema's living tables, dead versions counted."""
    names = lake.execute(
        f"SELECT i.table_name FROM {METADATA}.ducklake_inlined_data_tables i JOIN {METADATA}.ducklake_table t "
        f"USING (table_id) JOIN {METADATA}.ducklake_schema s USING (schema_id) WHERE s.schema_name = ? ORDER BY ALL",
        [schema],
    )
    return [lake.execute(f'SELECT count(*) FROM {METADATA}."{name}"')[0][0] for (name,) in names]


def expire_all(lake: Lake) -> None:
    ids = [number for (number,) in lake.execute("SELECT snapshot_id FROM ducklake_snapshots('lake') ORDER BY 1")]
    lake.execute("CALL ducklake_expire_snapshots('lake', versions => ?)", [ids[:-1]])


def test_a_rollback_deletes_no_file_that_a_merge_wrote(lake: Lake, config: PipelineConfig) -> None:
    before = set(filled(lake, config) and on_disk(config))
    lake.execute("BEGIN")
    lake.execute(MERGE)
    lake.execute("ROLLBACK")
    assert len(on_disk(config) - before) == 1
    assert lake.execute("SELECT x FROM lake.main.t ORDER BY x") == [(number,) for number in range(4)]


def test_a_merged_file_tells_which_snapshot_each_row_came_with(lake: Lake, config: PipelineConfig) -> None:
    filled(lake, config)
    before = lake.execute("SELECT snapshot_id, x FROM lake.main.t ORDER BY x")
    lake.execute(MERGE)
    assert lake.execute("SELECT snapshot_id, x FROM lake.main.t ORDER BY x") == before
    first, second = before[0][0], before[1][0]
    assert lake.execute(f"SELECT x FROM lake.main.t AT (VERSION => {first})") == [(0,)]
    assert lake.execute(f"SELECT count(*) FROM lake.main.t AT (VERSION => {second})") == [(2,)]


def test_a_merge_takes_a_range_of_sizes_that_is_open_at_its_end(lake: Lake, config: PipelineConfig) -> None:
    paths = filled(lake, config)
    sizes = {Path(path).stat().st_size for path in paths}
    bounded = f"{MERGE[:-1]}, min_file_size => ?, max_file_size => ?)"
    assert lake.execute(bounded, [0, min(sizes)]) == []
    assert lake.execute(bounded, [max(sizes) + 1, max(sizes) + 2]) == []
    assert lake.execute(bounded, [min(sizes), max(sizes) + 1]) == [("main", "t", 4, 1)]


def test_a_merge_aims_at_the_sessions_own_file_size(lake: Lake, config: PipelineConfig) -> None:
    two = 2 * Path(filled(lake, config)[0]).stat().st_size
    with open_lake(config.lake, merged_file_bytes=two) as bounded:
        assert bounded.execute(MERGE) == [("main", "t", 2, 1)] * 2


def test_files_of_two_shapes_of_the_table_are_not_merged(lake: Lake, config: PipelineConfig) -> None:
    filled(lake, config, 2)
    lake.execute("ALTER TABLE lake.main.t ADD COLUMN y BIGINT")
    for number in (2, 3):
        add(lake, write(config.lake, f"{DAY_FOLDER}/lane-0-{number}.parquet", x=[number], y=[number]))
    assert lake.execute(MERGE) == [("main", "t", 2, 1)] * 2


def test_the_partition_values_of_an_added_file_share_one_key_index(lake: Lake, config: PipelineConfig) -> None:
    """So nothing tells year from day; before a merge takes them over, `partition_keys` puts them right."""
    filled(lake, config, 1)
    found = lake.execute(
        f"SELECT count(*), count(DISTINCT partition_key_index) FROM {METADATA}.ducklake_file_partition_value"
    )
    assert found == [(3, 1)]


def test_files_with_deleted_rows_are_not_merged(lake: Lake, config: PipelineConfig) -> None:
    filled(lake, config)
    add(lake, write(config.lake, f"{DAY_FOLDER}/lane-0-two.parquet", ts=[DAY, DAY], x=[8, 9]))
    lake.execute("DELETE FROM lake.main.t WHERE x = 9")
    assert lake.execute(MERGE) == [("main", "t", 4, 1)]


def test_deleting_what_a_file_has_left_writes_no_file_and_ends_the_file(lake: Lake, config: PipelineConfig) -> None:
    """So a rollback after it has nothing to delete."""
    filled(lake, config, 1)
    old = write(config.lake, f"{DAY_FOLDER}/lane-0-two.parquet", ts=[DAY, DAY], x=[8, 9])
    add(lake, old)
    lake.execute("DELETE FROM lake.main.t WHERE x = 9")
    new = write(config.lake, f"{DAY_FOLDER}/maintenance-0.parquet", x=[8])
    before = on_disk(config)
    lake.execute("BEGIN")
    assert lake.execute("DELETE FROM lake.main.t WHERE filename = ?", [old]) == [(1,)]
    add(lake, new)
    lake.execute("COMMIT")
    assert on_disk(config) == before
    listed = lake.execute("SELECT data_file, delete_file FROM ducklake_list_files('lake', 't') ORDER BY ALL")
    assert [(Path(path).name, deletes) for path, deletes in listed] == [
        ("lane-0-0.parquet", None),
        ("maintenance-0.parquet", None),
    ]
    assert lake.execute("SELECT x FROM lake.main.t ORDER BY x") == [(0,), (8,)]


def test_a_file_is_found_by_its_name_without_reading_the_others(lake: Lake, config: PipelineConfig) -> None:
    paths = filled(lake, config)
    ((_, read),) = lake.execute("EXPLAIN ANALYZE SELECT x FROM lake.main.t WHERE filename = ?", [paths[2]])
    assert "Total Files Read: 1" in read


def test_cleaning_up_goes_over_files_that_are_gone_already(lake: Lake, config: PipelineConfig) -> None:
    first, *_ = filled(lake, config)
    lake.execute(MERGE)
    expire_all(lake)
    Path(first).unlink()
    [(now,)] = lake.execute("SELECT now()")
    text = "CALL ducklake_cleanup_old_files('lake', older_than => ?)"
    assert len(lake.execute(text, [now + timedelta(hours=1)])) == 4
    assert lake.execute(f"SELECT count(*) FROM {METADATA}.ducklake_files_scheduled_for_deletion") == [(0,)]
    assert len(on_disk(config)) == 1


def test_expiry_drops_inlined_rows_with_their_table_and_keeps_dead_versions_in_it(own: Lake) -> None:
    own.execute("INSERT INTO lake.own.t VALUES (0)")
    for _ in range(3):
        own.execute("UPDATE lake.own.t SET x = x + 1")
    expire_all(own)
    assert inlined_rows(own, "own") == [4]
    own.execute("BEGIN")
    own.execute("CREATE TABLE lake.own.new (x INTEGER)")
    own.execute("INSERT INTO lake.own.new SELECT x FROM lake.own.t")
    own.execute("DROP TABLE lake.own.t")
    own.execute("ALTER TABLE lake.own.new RENAME TO t")
    own.execute("COMMIT")
    expire_all(own)
    assert own.execute("SELECT x FROM lake.own.t") == [(3,)]
    assert sum(inlined_rows(own, "own")) == 1


def test_a_renamed_table_keeps_its_inlined_rows_and_their_snapshots(own: Lake) -> None:
    for number in range(3):
        own.execute("INSERT INTO lake.own.t VALUES (?)", [number])
    before = own.execute("SELECT snapshot_id, x FROM lake.own.t ORDER BY x")
    own.execute("BEGIN")
    own.execute("ALTER TABLE lake.own.t RENAME TO old")
    own.execute("CREATE TABLE lake.own.t (x INTEGER)")
    own.execute(
        "CREATE OR REPLACE VIEW lake.own.both AS SELECT snapshot_id, x FROM lake.own.t UNION ALL "
        "SELECT snapshot_id, x FROM lake.own.old"
    )
    own.execute("COMMIT")
    own.execute("INSERT INTO lake.own.t VALUES (9)")
    assert own.execute("SELECT snapshot_id, x FROM lake.own.old ORDER BY x") == before
    assert [x for _, x in own.execute("SELECT * FROM lake.own.both ORDER BY x")] == [0, 1, 2, 9]


@pytest.mark.postgres
def test_an_append_under_way_lands_in_the_renamed_table_and_not_in_a_dropped_one(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    place = LakeConfig(catalog=f"postgres:{postgres.new_database()}", data_path=str(tmp_path / "data"), table="t")
    with own_schema(place) as own, open_lake(place) as other:
        other.execute("BEGIN")
        other.execute("INSERT INTO lake.own.t VALUES (1)")
        own.execute("ALTER TABLE lake.own.t RENAME TO old")
        other.execute("COMMIT")
        assert own.execute("SELECT x FROM lake.own.old") == [(1,)]
        other.execute("BEGIN")
        other.execute("INSERT INTO lake.own.old VALUES (2)")
        own.execute("DROP TABLE lake.own.old")
        with pytest.raises(CommitConflict, match="dropped"):
            other.execute("COMMIT")
