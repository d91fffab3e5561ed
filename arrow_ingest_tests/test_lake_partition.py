"""Rows find the UTC day that they belong to, without a copy where their days stand together."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arrow_ingest.config import Limits
from arrow_ingest.lake.partition import Parted, split
from arrow_ingest.table_shape import PartitionBy
from arrow_ingest.values import Copies, CopyCause, Reason, Rejection
from arrow_ingest_tests.staged_table import accepted, by_day, tables_of

DAY = 86_400_000_000
NOV_4 = 20_761 * DAY
BY_DAY = PartitionBy.model_validate({"column": "ts", "start": "2026-01-01"})
NULL = "year=__HIVE_DEFAULT_PARTITION__/month=__HIVE_DEFAULT_PARTITION__/day=__HIVE_DEFAULT_PARTITION__"

MICROS = st.one_of(st.none(), st.integers(NOV_4 - 3 * DAY, NOV_4 + 3 * DAY), st.integers(-(2**63), 2**63 - 1))


def batch(micros: list[int | None], column: str = "ts") -> pa.RecordBatch:
    instants = pa.array(micros, pa.int64()).view(pa.timestamp("us", "UTC"))
    return pa.record_batch({column: instants, "row": pa.array(range(len(micros)))})


def parted(*batches: pa.RecordBatch, limits: Limits | None = None) -> Parted:
    return accepted(split(batches, BY_DAY, limits or Limits()))


def address(rows: pa.RecordBatch) -> int:
    """Where the batch's own memory for column ``row`` begins, slices regarded."""
    return int(rows.column("row").buffers()[1].address)


def test_a_batch_of_one_day_is_handed_on_as_it_is() -> None:
    rows = batch([NOV_4, NOV_4 + DAY - 1])
    (only,) = parted(rows).slices
    assert (only.value, only.hive_path) == ("2026-11-04", "year=2026/month=11/day=4")
    assert address(only.rows) == address(rows)
    assert only.rows.equals(rows)


def test_days_that_stand_together_are_views() -> None:
    rows = batch([NOV_4 - 1, NOV_4, NOV_4 + 1, NOV_4 + DAY])
    result = parted(rows)
    assert [(piece.value, piece.rows["row"].to_pylist()) for piece in result.slices] == [
        ("2026-11-03", [0]),
        ("2026-11-04", [1, 2]),
        ("2026-11-05", [3]),
    ]
    assert {address(piece.rows) for piece in result.slices} == {address(rows)}
    assert result.copies == Copies()


def test_days_that_come_back_a_few_times_are_views() -> None:
    rows = batch([NOV_4, NOV_4 + DAY, NOV_4 + 1, NOV_4 + DAY + 1])
    result = parted(rows)
    assert [(piece.value, piece.rows["row"].to_pylist()) for piece in result.slices] == [
        ("2026-11-04", [0]),
        ("2026-11-05", [1]),
        ("2026-11-04", [2]),
        ("2026-11-05", [3]),
    ]
    assert result.copies == Copies()


def test_days_that_alternate_all_the_time_are_gathered_once_and_counted() -> None:
    rows = batch([NOV_4, NOV_4 + DAY] * 50)
    result = parted(rows)
    assert [(piece.value, piece.rows["row"].to_pylist()) for piece in result.slices] == [
        ("2026-11-04", list(range(0, 100, 2))),
        ("2026-11-05", list(range(1, 100, 2))),
    ]
    assert result.copies == Copies({CopyCause.SPLIT_BY_PARTITION: rows.nbytes})


def test_rows_without_a_day_of_the_years_1_to_9999_are_of_the_null_partition() -> None:
    first, end = -62_135_596_800_000_000, 253_402_300_800_000_000
    result = parted(batch([None, first - 1, end, 2**63 - 1, -(2**63)]))
    assert [(piece.value, piece.hive_path, piece.rows.num_rows) for piece in result.slices] == [(None, NULL, 5)]
    assert [piece.value for piece in parted(batch([first, end - 1])).slices] == ["0001-01-01", "9999-12-31"]


@pytest.fixture(params=["UTC", "America/Los_Angeles"])
def local_zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_the_day_is_utcs_wherever_the_process_runs(local_zone: None) -> None:
    at_two = int(datetime(2026, 11, 4, 2, tzinfo=UTC).timestamp()) * 1_000_000
    assert [piece.value for piece in parted(batch([at_two, at_two - 3 * 3_600_000_000])).slices] == [
        "2026-11-04",
        "2026-11-03",
    ]


@given(st.lists(st.lists(MICROS, max_size=12), max_size=3))
def test_every_row_is_in_one_slice_of_its_own_day(messages: list[list[int | None]]) -> None:
    batches = [batch(micros) for micros in messages]
    slices = parted(*batches).slices
    for piece in slices:
        piece.rows.validate(full=True)
        for micros in piece.rows["ts"].cast(pa.int64()).to_pylist():
            assert piece.value == _day(micros)
    assert sum(piece.rows.num_rows for piece in slices) == sum(map(len, messages))
    for value in {piece.value for piece in slices}:
        kept = [row.as_py() for piece in slices if piece.value == value for row in piece.rows["row"]]
        expected = [row for micros in messages for row, at in enumerate(micros) if _day(at) == value]
        assert kept == expected


def _day(micros: int | None) -> str | None:
    try:
        return None if micros is None else datetime.fromtimestamp(micros // DAY * 86_400, UTC).date().isoformat()
    except (ValueError, OverflowError):
        return None


def test_a_message_of_too_many_days_is_refused_over_all_its_batches() -> None:
    batches = [batch([NOV_4 + i * DAY]) for i in range(5)]
    refused = split(batches, BY_DAY, Limits(max_table_partitions=4))
    assert isinstance(refused, Rejection)
    assert refused.reason is Reason.TOO_MANY_PARTITIONS
    assert len(parted(*batches, limits=Limits(max_table_partitions=5)).slices) == 5


def test_the_column_is_found_whatever_its_case() -> None:
    assert [piece.value for piece in parted(batch([NOV_4], column="TS")).slices] == ["2026-11-04"]


def test_without_partitions_all_rows_stay_together() -> None:
    result = accepted(split([batch([NOV_4, None]), batch([])], None, Limits()))
    assert [(piece.value, piece.hive_path, piece.rows.num_rows) for piece in result.slices] == [(None, "", 2)]


def test_folders_are_named_as_ducklake_computes_them_and_every_row_is_found(tmp_path: Any) -> None:
    micros = [NOV_4, NOV_4 - 1, None, -62_135_596_800_000_000, 253_402_300_799_999_999, -(2**62), 2**63 - 1]
    with tables_of(tmp_path) as make:
        table = make(**by_day(columns={}))
        files = table.ingest(pa.table({"ts": pa.array(micros, pa.int64()).view(pa.timestamp("us", "UTC"))}))
        for file in files:
            folders = table.lake.execute(
                "SELECT DISTINCT concat('year=', year(ts), '/month=', month(ts), '/day=', day(ts)) "
                f"FROM {table.name} WHERE filename = ?",
                [file.path],
            )
            if file.partition_value is not None:
                assert all(folder in file.path for (folder,) in folders)
        assert len(files) == 5
        ((late,),) = table.lake.execute(f"SELECT count(*) FROM {table.name} WHERE ts > '2100-01-01'")
        ((early,),) = table.lake.execute(f"SELECT count(*) FROM {table.name} WHERE ts < '0001-01-01'")
        assert (late, early) == (2, 1)
