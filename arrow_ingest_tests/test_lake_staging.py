"""Rows become durable Parquet files: every type comes back, memory is given back, failures name their messages."""

import gc
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings

from arrow_ingest.config import Parquet
from arrow_ingest.errors import CatalogUnavailable, StageFailed
from arrow_ingest.lake.dead_letters import DEAD_LETTER_SCHEMA, stage_dead_letters
from arrow_ingest.lake.partition import PartitionSlice
from arrow_ingest.lake.row_groups import try_to_write
from arrow_ingest.lake.sqltypes import sql_text, storable
from arrow_ingest.lake.staging import Stager
from arrow_ingest.values import DeadLetter, Reason, Rejection
from arrow_ingest_tests.arrow_strategies import tables
from arrow_ingest_tests.plain_values import as_stored, plain_values
from arrow_ingest_tests.staged_table import StagedTable, by_day, pipeline, tables_of

ODD_DAY, EVEN_DAY = "year=2026/month=11/day=3", "year=2026/month=11/day=4"


@pytest.fixture(scope="module")
def make_table(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., StagedTable]]:
    with tables_of(tmp_path_factory.mktemp("lake")) as make:
        yield make


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as running:
        yield running


class HeldExecutor(Executor):
    """A pool whose work waits until it is released, so that what is decided meanwhile can be seen."""

    def __init__(self, pool: Executor) -> None:
        self._pool = pool
        self._held: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **_: Any) -> "Future[Any]":
        self._held.append((fn, args))
        return Future()

    def release(self) -> int:
        """Let the work begin; how many pieces of it there were."""
        held, self._held = self._held, []
        for fn, args in held:
            self._pool.submit(fn, *args)
        return len(held)


def stager(folder: Path, pool: Executor, **parquet: Any) -> Stager:
    config = pipeline(folder, parquet=parquet)
    return Stager(config.lake, config.parquet, pool=pool, commit_id="c", lane=3)


def rows(start: int, count: int, width: int = 10) -> pa.RecordBatch:
    return pa.record_batch({"n": list(range(start, start + count)), "text": ["x" * width] * count})


def piece(batch: pa.RecordBatch, value: str | None = None, folder: str = "") -> PartitionSlice:
    return PartitionSlice(value, folder, batch)


def numbers(paths: list[str]) -> list[int]:
    """The numbers in the files, ascending."""
    return sorted(n for path in paths for n in pq.read_table(path, partitioning=None)["n"].to_pylist())


# Round trips


@settings(max_examples=30, deadline=None)
@given(tables())
def test_every_supported_type_comes_back_from_the_lake(
    make_table: Callable[..., StagedTable], message: pa.Table
) -> None:
    table = make_table()
    table.ingest(message)
    kinds = {field.name: storable(field.type) for field in message.schema}
    typed = [name for name, kind in kinds.items() if not pa.types.is_null(kind)]
    if not message.num_rows:
        return
    found = table.rows(*typed, "_kafka_row")
    assert found["_kafka_row"].to_pylist() == list(range(message.num_rows))
    for name in typed:
        sent, kind = message[name], kinds[name]
        assert plain_values(found[name]) == [as_stored(value, sent.type, kind) for value in plain_values(sent)]


def test_days_go_to_folders_of_their_own_and_are_pruned(make_table: Callable[..., StagedTable]) -> None:
    table = make_table(**by_day())
    texts = ["2026-11-04T00:00:00Z", "2026-11-03T23:59:59.999999Z", "2026-11-04T23:00:00-05:00", None]
    files = table.ingest(pa.table({"ts": pa.array(texts, pa.string()), "n": [0, 1, 2, 3]}))
    assert {file.partition_value: file.rows for file in files} == {
        "2026-11-03": 1, "2026-11-04": 1, "2026-11-05": 1, None: 1,
    }  # fmt: skip
    ((plan,),) = [
        row[1:] for row in table.lake.execute(f"EXPLAIN ANALYZE SELECT n FROM {table.name} WHERE ts >= '2026-11-05'")
    ]
    assert "Total Files Read: 1" in plan


def test_a_schema_that_grows_within_a_micro_batch_begins_new_files(make_table: Callable[..., StagedTable]) -> None:
    table = make_table()
    files = table.ingest(pa.table({"n": pa.array([1], pa.int32())}), pa.table({"n": [2**40], "added": ["x"]}))
    assert len(files) == 2
    assert table.rows("n", "added").to_pylist() == [{"n": 1, "added": None}, {"n": 2**40, "added": "x"}]


def test_files_of_several_lanes_and_other_writers_can_be_merged(make_table: Callable[..., StagedTable]) -> None:
    table = make_table(**by_day())
    for lane in (0, 1):
        table.ingest(pa.table({"ts": ["2026-11-04"], "n": [lane]}), lane=lane)
    table.lake.execute(f"INSERT INTO {table.name} (ts, n) VALUES ('2026-11-04 02:00:00Z', 2)")
    table.lake.execute("CALL ducklake_merge_adjacent_files('lake', ?)", [table.config.lake.table])
    assert len(table.lake.execute("FROM ducklake_list_files('lake', ?)", [table.config.lake.table])) == 1
    assert sorted(table.rows("n")["n"].to_pylist()) == [0, 1, 2]


# Files


def test_files_stand_where_the_layout_says(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    staging = stager(tmp_path, pool)
    staging.append(piece(rows(0, 3), "2026-11-04", EVEN_DAY), source=(0, 1))
    (file,) = staging.close()
    assert Path(file.path) == tmp_path / "data" / "main" / "events" / EVEN_DAY / "lane-3-c-0.parquet"
    assert (file.partition_value, file.rows, file.size_bytes) == ("2026-11-04", 3, Path(file.path).stat().st_size)


def test_row_groups_and_files_end_at_their_sizes(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    staging = stager(tmp_path, pool, row_group_rows=100, target_file_bytes=1, threads=1)
    for start in range(0, 1_000, 50):
        staging.append(piece(rows(start, 50)), source=(0, start))
    files = staging.close()
    footers = [pq.ParquetFile(file.path).metadata for file in files]
    groups = [footer.row_group(i).num_rows for footer in footers for i in range(footer.num_row_groups)]
    assert groups == [100] * 10
    assert len(files) > 1
    assert numbers([file.path for file in files]) == list(range(1_000))


def test_a_message_larger_than_a_row_group_is_cut(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    by_rows = stager(tmp_path / "rows", pool, row_group_rows=100)
    by_rows.append(piece(rows(0, 950)), source=(0, 0))
    by_bytes = stager(tmp_path / "bytes", pool, row_group_bytes=10_000)
    by_bytes.append(piece(rows(0, 1_000, width=100)), source=(0, 0))
    for staging, most_rows in ((by_rows, 100), (by_bytes, 100)):
        files = staging.close()
        footers = [pq.ParquetFile(file.path).metadata for file in files]
        assert max(f.row_group(i).num_rows for f in footers for i in range(f.num_row_groups)) <= most_rows
        assert sum(file.rows for file in files) in (950, 1_000)


def test_rows_of_a_day_share_a_file_across_messages(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    staging = stager(tmp_path, pool)
    for offset in range(50):
        day = (ODD_DAY, EVEN_DAY)[offset % 2]
        staging.append(piece(rows(offset, 1), day, day), source=(0, offset))
    assert [file.rows for file in staging.close()] == [25, 25]


def test_over_the_cap_of_open_files_the_largest_is_closed(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    staging = stager(tmp_path, pool, max_open_files=2, row_group_rows=10, threads=1)
    for turn in range(3):
        for day in range(5):
            staging.append(piece(rows(turn * 50 + day * 10, 10), f"d{day}", f"day={day}"), source=(0, turn))
    files = staging.close()
    assert len(files) > 5
    assert numbers([file.path for file in files]) == list(range(150))


@pytest.mark.parametrize(("threads", "files"), [(1, 1), (2, 2), (8, 2)])
def test_a_busy_file_is_not_waited_for_while_a_thread_is_free(
    tmp_path: Path, pool: ThreadPoolExecutor, threads: int, files: int
) -> None:
    held = HeldExecutor(pool)
    staging = stager(tmp_path, held, row_group_rows=10, threads=threads)
    for start in range(0, 60, 10):
        staging.append(piece(rows(start, 10)), source=(0, start))
    assert held.release() == files
    staging.wait_for_progress(10)


def test_many_threads_and_days_lose_and_repeat_nothing(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as wide:
        staging = stager(tmp_path, wide, threads=8, row_group_rows=64, max_open_files=3, target_file_bytes=4_096)
        for offset in range(400):
            staging.append(piece(rows(offset * 7, 7), f"d{offset % 6}", f"day={offset % 6}"), source=(0, offset))
        files = staging.close()
    assert numbers([file.path for file in files]) == list(range(2_800))
    assert len({file.path for file in files}) == len(files)
    assert staging.buffered_bytes == 0


@pytest.mark.parametrize("codec", ["zstd", "snappy", "lz4", "gzip", "none"])
def test_every_codec_and_level_that_the_settings_take_can_be_written(codec: str) -> None:
    highest = {"zstd": 22, "lz4": 12, "gzip": 9}.get(codec)
    for level in (None, 1, highest) if highest else (None,):
        assert (
            try_to_write(rows(0, 5), Parquet.model_validate({"compression": codec, "compression_level": level})) is None
        )
    with pytest.raises(ValueError, match="compression_level"):
        Parquet.model_validate({"compression": codec, "compression_level": (highest or 0) + 1})


# Memory


class Owner:
    """Stands for the Kafka message whose bytes rows alias."""

    def __init__(self, data: bytes, released: threading.Event) -> None:
        self._data = data
        self._released = released

    def buffer(self) -> pa.Buffer:
        return pa.foreign_buffer(pa.py_buffer(self._data).address, len(self._data), base=self)

    def __del__(self) -> None:
        self._released.set()


def test_a_messages_memory_is_free_once_its_rows_are_encoded(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    released = threading.Event()
    staging = stager(tmp_path, pool, row_group_rows=4)
    column = pa.Array.from_buffers(pa.int64(), 4, [None, Owner(bytes(32), released).buffer()])
    staging.append(piece(pa.record_batch({"n": column})), source=(0, 0))
    del column
    gc.collect()
    assert released.wait(10)
    assert staging.buffered_bytes == 0
    assert len(staging.close()) == 1


def test_waiting_writes_what_is_collected_when_nothing_else_would_free_memory(
    tmp_path: Path, pool: ThreadPoolExecutor
) -> None:
    staging = stager(tmp_path, pool)
    staging.append(piece(rows(0, 10), "a", "day=a"), source=(0, 0))
    staging.append(piece(rows(10, 1), "b", "day=b"), source=(0, 1))
    before = staging.buffered_bytes
    staging.wait_for_progress(10)
    small = rows(10, 1).nbytes
    assert before > staging.buffered_bytes == small
    assert numbers([file.path for file in staging.close()]) == list(range(11))


# Durability


def test_files_and_every_new_folder_reach_the_disk_before_close_returns(
    tmp_path: Path, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    real = os.fsync

    def watched(descriptor: int) -> None:
        real(descriptor)
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())

    monkeypatch.setattr(os, "fsync", watched)
    staging = stager(tmp_path, pool)
    staging.append(piece(rows(0, 1), "2026-11-04", EVEN_DAY), source=(0, 0))
    (file,) = staging.close()
    on_disk = Path(file.path)
    assert on_disk in synced
    folders = [folder for folder in on_disk.parents if folder.is_relative_to(tmp_path)]
    assert set(folders) <= set(synced)
    assert synced.index(on_disk) < len(synced) - 1 - synced[::-1].index(on_disk.parent)


# Failures


def unwritable() -> pa.RecordBatch:
    """Rows of a type that has no Parquet form; the type allowlist keeps it out of real messages."""
    return pa.record_batch({"n": pa.array([None], pa.month_day_nano_interval())})


def test_a_row_group_that_cannot_be_encoded_names_its_messages(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    staging = stager(tmp_path, pool)
    staging.append(piece(rows(0, 5), "a", "day=a"), source=(0, 1))
    staging.append(piece(unwritable(), "b", "day=b"), source=(0, 2))
    staging.append(piece(unwritable(), "b", "day=b"), source=(3, 4))
    with pytest.raises(StageFailed) as failure:
        staging.close()
    assert failure.value.culprits == ((0, 2), (3, 4))
    with pytest.raises(StageFailed):
        staging.append(piece(rows(0, 1)), source=(0, 5))
    assert staging.buffered_bytes == 0


def test_one_messages_rows_can_be_tried_alone() -> None:
    assert try_to_write(rows(0, 5), Parquet()) is None
    refused = try_to_write(unwritable(), Parquet())
    assert refused is not None
    assert refused.reason is Reason.STAGING


def test_a_data_path_that_cannot_be_written_blames_no_message(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    (tmp_path / "data").write_text("a file where the folder should be")
    staging = stager(tmp_path, pool)
    staging.append(piece(rows(0, 5)), source=(0, 1))
    with pytest.raises(CatalogUnavailable, match="data"):
        staging.close()


def test_abandoned_files_stay_and_their_handles_go(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    staging = stager(tmp_path, pool, row_group_rows=10)
    staging.append(piece(rows(0, 15)), source=(0, 1))
    staging.wait_for_progress(10)
    staging.abandon()
    staging.abandon()
    assert staging.buffered_bytes == 0
    held = [link.readlink() for link in Path("/proc/self/fd").iterdir() if link.exists()]
    assert not [path for path in held if path.is_relative_to(tmp_path)]
    assert list(tmp_path.rglob("*.parquet"))


def test_abandoning_what_was_closed_changes_nothing(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    staging = stager(tmp_path, pool)
    staging.append(piece(rows(0, 5)), source=(0, 1))
    (file,) = staging.close()
    staging.abandon()
    assert numbers([file.path]) == list(range(5))


def test_nothing_appended_stages_no_file(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    assert stager(tmp_path, pool).close() == ()
    assert not list(tmp_path.rglob("*.parquet"))


# Dead letters


def test_dead_letters_are_kept_whole(make_table: Callable[..., StagedTable]) -> None:
    table = make_table()
    listed = ", ".join(f'"{field.name}" {sql_text(field.type)}' for field in DEAD_LETTER_SCHEMA)
    table.lake.execute(f"CREATE TABLE {table.name} ({listed})")
    rejection = Rejection(Reason.CAST, "lone surrogate \udc80")
    payload = pa.py_buffer(bytes(range(256)) * 100)
    letters = [
        DeadLetter(1, 2, 3, 1_000, b"\xff", (("name", b"\0"), ("name", None)), payload, rejection),
        DeadLetter(1, 2, 4, 2**62, None, (), None, Rejection(Reason.NO_VALUE, "")),
    ]
    staged = stage_dead_letters(letters, table.config.lake, table.config.parquet, commit_id="c", lane=0)
    assert staged is not None
    assert "__dead_letters/lane-0-c-0.parquet" in staged.path
    table.add([staged])
    whole, empty = table.lake.arrow(f'SELECT * FROM {table.name} ORDER BY "offset"').to_pylist()
    assert whole["payload"] == payload.to_pybytes()
    assert whole["headers"] == [{"key": "name", "value": b"\0"}, {"key": "name", "value": None}]
    assert (whole["key"], whole["reason"], whole["detail"]) == (b"\xff", "cast", "lone surrogate \\udc80")
    assert (empty["payload"], empty["headers"], empty["timestamp"]) == (None, [], None)
    assert stage_dead_letters([], table.config.lake, table.config.parquet, commit_id="c", lane=0) is None
