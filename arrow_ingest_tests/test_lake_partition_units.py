"""Tables partitioned by hour, month or value: rows find their partition, and DuckLake reads back what was written."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from arrow_ingest.config import Limits
from arrow_ingest.lake.partition import split
from arrow_ingest.lake.sql import in_partition
from arrow_ingest.lake.statistics import rows_by_partition
from arrow_ingest.lake.time_partitions import TimeUnit, next_start, partition_names, partition_numbers, start_of_key
from arrow_ingest.lake.value_partitions import folder_of, key_of_text, text_of_key
from arrow_ingest.table_shape import PartitionBy
from arrow_ingest.values import Reason, Rejection
from arrow_ingest_tests.staged_table import StagedTable, accepted, tables_of

NASTY = [
    *("a/b", "..", ".", "100%", "%25", "", " x ", "a=b", "a\nb", "\x01", "it's", '"', "é漢😀", "a+b", "~*?", "a...b"),
    *("NULL", "null", "Null", "__HIVE_DEFAULT_PARTITION__", "0x1", "true", "x" * 250),
]
TIME_KEYS = {
    "hour": ("2026-11-04-02:00", "year=2026/month=11/day=4/hour=2"),
    "day": ("2026-11-04", "year=2026/month=11/day=4"),
    "month": ("2026-11-01", "year=2026/month=11"),
}
TIME_UNITS: list[TimeUnit] = ["hour", "day", "month"]
INSTANTS = st.integers(0, 9_998 * 365 * 86_400).map(
    lambda seconds: datetime(1, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
)


@pytest.fixture(scope="module")
def make_table(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., StagedTable]]:
    with tables_of(tmp_path_factory.mktemp("lake")) as make:
        yield make


def by(unit: str, column: str = "ts") -> dict[str, Any]:
    start = {} if unit == "value" else {"start": "2026-01-01"}
    return {"partition_by": {"column": column, "unit": unit, **start}}


def instants(*times: datetime | None) -> pa.Array:
    return pa.array(times, pa.timestamp("us", "UTC"))


def counted(table: StagedTable) -> dict[str | None, int]:
    """Rows per partition by the catalog's statistics, and after everything was merged still."""
    config = table.config
    with table.lake.snapshot():
        before = rows_by_partition(table.lake, config.lake, config.partition_by)
    table.lake.execute("CALL ducklake_merge_adjacent_files('lake', ?)", [config.lake.table])
    with table.lake.snapshot():
        assert rows_by_partition(table.lake, config.lake, config.partition_by) == before
    return before


# Time


@pytest.mark.parametrize("unit", TIME_UNITS)
def test_rows_are_found_by_the_hour_day_or_month_that_they_were_staged_for(
    make_table: Callable[..., StagedTable], unit: str
) -> None:
    table = make_table(**by(unit))
    first, late = datetime(2026, 11, 4, 2, 30, tzinfo=UTC), datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC)
    for _ in range(2):  # two files a partition, to be merged
        files = table.ingest(pa.table({"ts": instants(first, late, None, late)}))
    key, folder = TIME_KEYS[unit]
    assert {file.partition_value for file in files} >= {key, None}
    assert any(f"/{folder}/lane-" in file.path for file in files)
    assert counted(table) == {
        file.partition_value: 2 * sum(other.rows for other in files if other.partition_value == file.partition_value)
        for file in files
    }
    condition = in_partition(PartitionBy.model_validate(by(unit)["partition_by"]), key)
    assert table.lake.execute(f"SELECT DISTINCT ts FROM {table.name} WHERE {condition}") == [(first,)]


@given(INSTANTS, st.sampled_from(TIME_UNITS))
def test_an_instant_lies_between_the_start_of_its_partition_and_the_next(at: datetime, unit: TimeUnit) -> None:
    [number] = partition_numbers(instants(at), unit).to_pylist()
    key, _ = partition_names(number, unit)
    assert key is not None
    start = start_of_key(key, unit)
    assert start <= at < next_start(start, unit)


@pytest.mark.parametrize("unit", TIME_UNITS)
def test_keys_are_dagsters(unit: TimeUnit) -> None:
    definitions = {
        "hour": dg.HourlyPartitionsDefinition("2026-11-04-02:00", end_offset=1),
        "day": dg.DailyPartitionsDefinition("2026-11-04", end_offset=1),
        "month": dg.MonthlyPartitionsDefinition("2026-11-01", end_offset=1),
    }
    first, second = definitions[unit].get_partition_keys(datetime(2026, 12, 1, 4, tzinfo=UTC))[:2]
    assert TIME_KEYS[unit][0] == first
    [number] = partition_numbers(instants(next_start(start_of_key(first, unit), unit)), unit).to_pylist()
    assert partition_names(number, unit)[0] == second


def test_years_without_partitions_are_counted_as_the_null_partition(make_table: Callable[..., StagedTable]) -> None:
    table = make_table(**by("day"))
    micros = [253_402_300_800_000_000, 2**62, -(2**62), -62_135_596_800_000_001, 0]
    table.ingest(pa.table({"ts": pa.array(micros, pa.int64()).view(pa.timestamp("us", "UTC"))}))
    table.ingest(pa.table({"ts": pa.array(micros[:1], pa.int64()).view(pa.timestamp("us", "UTC"))}))
    assert counted(table) == {None: 5, "1970-01-01": 1}


@pytest.mark.parametrize("unit", TIME_UNITS)
def test_columns_that_are_called_like_a_folder_keep_their_own_values(
    make_table: Callable[..., StagedTable], unit: str
) -> None:
    table = make_table(**by(unit, "year"))
    at = datetime(2026, 11, 4, 2, tzinfo=UTC)
    message = pa.table({"year": instants(at), "Month": ["November"], "day": [99], "hour": pa.array([7], pa.int8())})
    for _ in range(2):
        table.ingest(message)
    assert counted(table) == {TIME_KEYS[unit][0]: 2}
    assert table.rows("year", "Month", "day", "hour").to_pylist() == 2 * message.to_pylist()
    held = table.schema()
    assert held is not None
    assert [column.name for column in held.columns[:4]] == ["year", "Month", "day", "hour"]
    assert table.lake.execute(f"SELECT count(*) FROM {table.name} WHERE day = 99 AND year >= ?", [at]) == [(2,)]
    assert table.lake.execute(f"SELECT count(*) FROM {table.name} WHERE day = 4") == [(0,)]


@pytest.mark.parametrize("shift", range(1, 8))
@pytest.mark.parametrize("unit", TIME_UNITS)
def test_instants_that_are_not_aligned_in_memory_are_read_as_they_are(unit: TimeUnit, shift: int) -> None:
    aligned = pa.array([0, None, 2**62, 86_400_000_000, *range(0, 10**15, 10**13)], pa.timestamp("us", "UTC"))
    validity, values = aligned.buffers()
    moved = pa.py_buffer(bytes(shift) + values.to_pybytes())
    shifted = pa.Array.from_buffers(aligned.type, len(aligned), [validity, moved.slice(shift)])
    assert partition_numbers(shifted, unit).equals(partition_numbers(aligned, unit))


# Values


@pytest.mark.parametrize(
    "values",
    [
        pa.array([*NASTY, None]),
        pa.array([0, -5, 2**63 - 1, -(2**63), None]),
        pa.array([0, 2**64 - 1], pa.uint64()),
        pa.array([True, False, None]),
        pa.array([date(2026, 11, 4), date(1, 1, 1), date(9999, 12, 31), None]),
    ],
    ids=lambda values: str(values.type),
)
def test_every_value_comes_back_from_its_folder(make_table: Callable[..., StagedTable], values: pa.Array) -> None:
    table = make_table(**by("value", "V"))
    for _ in range(2):
        files = table.ingest(pa.table({"v": values, "same": values}))
    assert len(files) == len(values)
    keys = [file.partition_value for file in files]
    assert counted(table) == dict.fromkeys(keys, 2)
    rows = table.rows("v", "same")
    assert rows["v"].equals(rows["same"])
    assert rows["v"].to_pylist() == 2 * values.to_pylist()
    partition_by = PartitionBy(column="v", unit="value")
    for key in keys:
        condition = "v IS NULL" if key is None else in_partition(partition_by, key)
        assert table.lake.execute(f"SELECT count(*) FROM {table.name} WHERE {condition}") == [(2,)]


def test_a_partition_column_widens_beside_older_files(make_table: Callable[..., StagedTable]) -> None:
    table = make_table(**by("value", "v"))
    table.ingest(pa.table({"v": pa.array([5], pa.int16())}))
    table.ingest(pa.table({"v": pa.array([5, 2**40])}), pa.table({"v": pa.array([5], pa.int8())}))
    assert counted(table) == {"5": 3, str(2**40): 1}
    assert table.lake.execute(f"SELECT count(*) FROM {table.name} WHERE v = 5") == [(3,)]


@given(st.text())
def test_a_key_is_the_value_in_a_form_that_dagster_takes(text: str) -> None:
    key = key_of_text(text)
    assert key
    assert "..." not in key
    assert key.isprintable() or not any(ord(character) < 32 for character in key)
    assert text_of_key(key) == text


@pytest.mark.parametrize(
    "value",
    [
        pa.array(["x" * 254]),
        pa.array(["é" * 43]),
        pa.array(["a\0b"]),
        pa.array([2**31 - 1], pa.int32()).view(pa.date32()),
    ],
    ids=["long", "long once encoded", "NUL", "year 5881580"],
)
def test_a_value_that_no_folder_can_say_is_refused_with_its_message(value: pa.Array) -> None:
    batch = pa.record_batch({"v": value})
    refused = split([batch], PartitionBy(column="v", unit="value"), Limits())
    assert isinstance(refused, Rejection)
    assert refused.reason is Reason.PARTITION_VALUE


def test_a_message_of_too_many_values_is_refused_before_any_is_named() -> None:
    batch = pa.record_batch({"v": pc.cast(pa.array(range(5)), pa.string())})
    refused = split([batch], PartitionBy(column="v", unit="value"), Limits(max_table_partitions=4))
    assert isinstance(refused, Rejection)
    assert refused.reason is Reason.TOO_MANY_PARTITIONS


@given(st.lists(st.sampled_from(["a", "b", "NULL", "", None]), max_size=200))
def test_every_row_is_in_one_slice_of_its_own_value(values: list[str | None]) -> None:
    batch = pa.record_batch({"v": pa.array(values, pa.string()), "row": pa.array(range(len(values)), pa.int64())})
    slices = accepted(split([batch], PartitionBy(column="v", unit="value"), Limits())).slices
    for piece in slices:
        text = None if piece.value is None else text_of_key(piece.value)
        assert set(piece.rows["v"].to_pylist()) == {text}
        assert text is None or piece.hive_path == folder_of(text, "v")
    for value in set(values):
        rows = [row for piece in slices for row in piece.rows["row"].to_pylist() if piece.rows["v"][0].as_py() == value]
        assert rows == [row for row, found in enumerate(values) if found == value]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"column": "ts", "unit": "hour"}, "this setting is required"),
        ({"column": "v", "unit": "value", "start": "2026-01-01"}, "start belongs to units of time"),
        ({"column": "a b", "unit": "value"}, "would name folders"),
    ],
)
def test_settings_that_make_no_sense_together_are_refused(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        PartitionBy.model_validate(settings)
