"""A message's batches become the table's rows: same values, same memory where the type is the same."""

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arrow_ingest.lake.bounds import bounded
from arrow_ingest.lake.conform import Conformed, conform
from arrow_ingest.lake.instants import to_instants
from arrow_ingest.lake.retype import retyped
from arrow_ingest.lake.schema import TablePlan, plan_for
from arrow_ingest.lake.sqltypes import TIMESTAMPTZ, storable
from arrow_ingest.table_shape import DEFAULT_METADATA_COLUMNS
from arrow_ingest.values import Copies, CopyCause, Reason, Rejection
from arrow_ingest_tests.arrow_strategies import arrays, record_batches, supported_types
from arrow_ingest_tests.plain_values import as_stored, plain_values
from arrow_ingest_tests.staged_table import INSERTED_AT, accepted, pipeline, stamp


def plan(*schemas: pa.Schema, **settings: Any) -> TablePlan:
    grown = plan_for(pipeline(Path("/nowhere"), **settings), None)
    for schema in schemas:
        grown = accepted(grown.extend(schema))
    return grown


def conformed(batch: pa.RecordBatch, *before: pa.Schema, **settings: Any) -> Conformed | Rejection:
    return conform(batch, plan(*before, batch.schema, **settings), stamp(), first_row=0)


def as_stream(batch: pa.RecordBatch) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue()


def addresses(array: pa.Array) -> set[int]:
    return {buffer.address for buffer in array.buffers() if buffer is not None}


@pytest.fixture(params=["UTC", "America/Los_Angeles", "Asia/Kolkata"])
def local_zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


# Memory


def test_columns_of_the_tables_type_keep_the_received_buffers() -> None:
    sent = pa.record_batch(
        {"text": ["a", None], "number": [1, 2], "tags": [["x"], []], "in": [{"a": 1}, None], "at": ["2026-11-04", None]}
    )
    (received,) = pa.ipc.open_stream(as_stream(sent)).read_all().to_batches()
    done = accepted(conformed(received, columns={"at": "timestamptz"}))
    for name in ("text", "number", "tags", "in"):
        assert addresses(done.batch.column(name)) == addresses(received.column(name))
    assert done.copies == Copies({CopyCause.CAST: 16 + 1})


@pytest.mark.parametrize(
    ("column", "cause", "copied"),
    [
        (pa.array([1, 2], pa.int8()), CopyCause.WIDENED, 16),
        (pa.array(["a", "b"]).dictionary_encode(), CopyCause.DICTIONARY, 14),
        (pa.array([1, 2], pa.int64()), None, 0),
    ],
)
def test_copies_are_counted_by_cause(column: pa.Array, cause: CopyCause | None, copied: int) -> None:
    wide = pa.string() if cause is CopyCause.DICTIONARY else pa.int64()
    done = accepted(conformed(pa.record_batch({"c": column}), pa.schema([("c", wide)])))
    assert done.copies.by_cause.get(cause or CopyCause.WIDENED, 0) >= copied
    assert bool(done.copies.by_cause) is (cause is not None)


def test_only_the_leaf_that_differs_is_written_anew() -> None:
    received = pa.array(
        [[{"same": "x" * 100, "wide": 1}]], pa.list_(pa.struct([("same", pa.string()), ("wide", pa.int8())]))
    )
    wide = pa.list_(pa.struct([("same", pa.string()), ("wide", pa.int64())]))
    done = accepted(conformed(pa.record_batch({"c": received}), pa.schema([("c", wide)])))
    assert done.copies == Copies({CopyCause.WIDENED: 8})


# Values


@given(record_batches())
def test_every_supported_batch_keeps_its_values(batch: pa.RecordBatch) -> None:
    done = accepted(conformed(batch)).batch
    done.validate(full=True)
    for field in batch.schema:
        kind = storable(field.type)
        if not pa.types.is_null(kind):
            expected = [as_stored(value, field.type, kind) for value in plain_values(batch.column(field.name))]
            assert plain_values(done.column(field.name)) == expected


@st.composite
def _narrow_and_wide(draw: st.DrawFn) -> tuple[pa.Array, pa.DataType]:
    narrow = draw(supported_types())
    array = draw(arrays(narrow))
    held = storable(narrow)
    return array, held if pa.types.is_null(held) or draw(st.booleans()) else _grown(held)


def _grown(kind: pa.DataType) -> pa.DataType:
    """The same type with one more field in every struct, and the widest integers."""
    if pa.types.is_struct(kind):
        return pa.struct(
            [("added", pa.string()), *((field.name.upper(), _grown(field.type)) for field in reversed(list(kind)))]
        )
    if pa.types.is_list(kind):
        return pa.list_(pa.field("element", _grown(kind.value_type)))
    if pa.types.is_map(kind):
        return pa.map_(kind.key_type, _grown(kind.item_type))
    return pa.int64() if pa.types.is_integer(kind) and kind != pa.uint64() else kind


@given(_narrow_and_wide())
def test_a_wider_type_holds_the_same_values(case: tuple[pa.Array, pa.DataType]) -> None:
    array, wide = case
    if pa.types.is_null(wide):
        return
    done = retyped(array, wide)
    done.validate(full=True)
    assert done.type == wide
    assert len(done) == len(array)
    assert plain_values(done) == [as_stored(value, array.type, wide) for value in plain_values(array)]


def test_columns_come_in_the_tables_order_and_missing_ones_are_null() -> None:
    done = accepted(
        conformed(
            pa.record_batch({"B": ["x"], "a": [1]}),
            pa.schema([("a", pa.int64()), ("b", pa.string()), ("c", pa.bool_())]),
        )
    )
    assert done.batch.select(["a", "b", "c"]).to_pylist() == [{"a": 1, "b": "x", "c": None}]


def test_metadata_columns_say_where_each_row_came_from() -> None:
    batch = pa.record_batch({"a": [1, 2]})
    done = accepted(conform(batch, plan(batch.schema), stamp(offset=7, timestamp_ms=1_000), first_row=40)).batch
    common = {
        "_inserted_at": INSERTED_AT,
        "_kafka_generation": 0,
        "_kafka_partition": 0,
        "_kafka_offset": 7,
        "_kafka_timestamp": datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC),
    }
    assert done.drop_columns(["a"]).to_pylist() == [{**common, "_kafka_row": 40}, {**common, "_kafka_row": 41}]


@pytest.mark.parametrize("timestamp_ms", [None, -(2**63), 2**63 - 1, 253_402_300_800_000])
def test_a_message_timestamp_that_is_no_time_is_null(timestamp_ms: int | None) -> None:
    batch = pa.record_batch({"a": [1]})
    done = accepted(conform(batch, plan(batch.schema), stamp(timestamp_ms=timestamp_ms), first_row=0)).batch
    assert done.column("_kafka_timestamp").null_count == 1


# Declared casts


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-04T02:00:00Z", "2026-11-04T02:00:00"),
        ("2026-11-04T02:00:00.1Z", "2026-11-04T02:00:00.100000"),
        ("2026-11-04T02:00:00.123Z", "2026-11-04T02:00:00.123000"),
        ("2026-11-04T02:00:00.123456Z", "2026-11-04T02:00:00.123456"),
        ("2026-11-04T02:00:00.123456789Z", "2026-11-04T02:00:00.123456"),
        ("1969-12-31T23:59:59.9999999Z", "1969-12-31T23:59:59.999999"),
        ("2026-11-04T02:00:00,5Z", "2026-11-04T02:00:00.500000"),
        ("2026-11-04T02:00:00+01:00", "2026-11-04T01:00:00"),
        ("2026-11-04T02:00:00-05:30", "2026-11-04T07:30:00"),
        ("2026-11-04T02:00:00+0100", "2026-11-04T01:00:00"),
        ("2026-11-04T00:30:00+01", "2026-11-03T23:30:00"),
        ("2026-11-04T02:00:00.1234567+01:00", "2026-11-04T01:00:00.123456"),
        ("2026-11-04 02:00:00Z", "2026-11-04T02:00:00"),
        ("2026-11-04 02:00:00.000001", "2026-11-04T02:00:00.000001"),
        ("2026-11-04t02:00:00z", "2026-11-04T02:00:00"),
        ("2026-11-04T02:00:00", "2026-11-04T02:00:00"),
        ("2026-11-04T02:03", "2026-11-04T02:03:00"),
        ("2026-11-04T02", "2026-11-04T02:00:00"),
        ("2026-11-04", "2026-11-04T00:00:00"),
        ("2024-02-29", "2024-02-29T00:00:00"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00"),
        ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999"),
    ],
)
def test_text_becomes_the_instant_that_it_names_alone_and_among_others(
    local_zone: None, text: str, expected: str
) -> None:
    instant = datetime.fromisoformat(expected).replace(tzinfo=UTC)
    for others in ([], ["2026-11-04T00:00:00Z"], ["2026-11-04T00:00:00"], ["2026-11-04", None]):
        assert to_instants(pa.array([*others, text]))[len(others)].as_py() == instant


@pytest.mark.parametrize(
    "text",
    ["", " ", "now", "2026-13-01", "2026-02-30", "2026-1-4", "20261104", "1762221600", "2026-11-04T24:00:00Z",
     "2026-11-04T02:00:60Z", "2026-11-04T02:00:00+25:00", " 2026-11-04", "2026-11-04T02:00:00Z Z", "2026-11-04Z",
     "+12026-11-04", "infinity", "2026-11-04\0"],
)  # fmt: skip
def test_text_that_is_no_time_is_refused(text: str) -> None:
    batch = pa.record_batch({"ts": ["2026-11-04", text]})
    refused = conformed(batch, columns={"ts": "timestamptz"})
    assert isinstance(refused, Rejection)
    assert refused.reason is Reason.CAST


@given(st.timedeltas(timedelta(days=-700_000), timedelta(days=2_900_000)), st.integers(-1439, 1439))
def test_any_instant_survives_its_iso_text(since_1970: timedelta, offset_minutes: int) -> None:
    zone = timezone(timedelta(minutes=offset_minutes))
    instant = datetime(1970, 1, 1, tzinfo=zone) + since_1970
    assert to_instants(pa.array([instant.isoformat()]))[0].as_py() == instant


def test_a_refusal_names_the_row_of_the_message_and_shows_the_value() -> None:
    texts = ["2026-11-04"] * 700 + ["x" * 1_000] + ["2026-11-04"] * 300
    batch = pa.record_batch({"ts": texts})
    refused = conform(batch, plan(batch.schema, columns={"ts": "timestamptz"}), stamp(), first_row=1_000)
    assert isinstance(refused, Rejection)
    assert "column ts, row 1700" in refused.detail
    assert "xxxx" in refused.detail
    assert len(refused.detail) < 300


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())]
)
def test_text_of_every_layout_is_cast(kind: pa.DataType) -> None:
    batch = pa.record_batch({"ts": pa.array(["2026-11-04T01:00:00+01:00", None]).cast(kind)})
    done = accepted(conformed(batch, columns={"ts": "timestamptz"})).batch
    assert done.column("ts").to_pylist() == [datetime(2026, 11, 4, tzinfo=UTC), None]


def test_dates_and_timestamps_are_cast_and_those_without_zone_are_utc(local_zone: None) -> None:
    micros = 1_793_757_600_123_456
    expected = datetime(2026, 11, 4, 2, 0, 0, 123_456, tzinfo=UTC)
    for column in (
        pa.array([micros], pa.timestamp("us")),
        pa.array([micros], pa.timestamp("us", "Asia/Tokyo")),
        pa.array([micros], pa.timestamp("us", "+05:30")),
        pa.array([micros], pa.timestamp("us", "No/Where")),
        pa.array([micros * 1_000 + 999], pa.timestamp("ns")),
    ):
        assert to_instants(column).to_pylist() == [expected]
    assert to_instants(pa.array([20_761], pa.date32())).to_pylist() == [datetime(2026, 11, 4, tzinfo=UTC)]
    assert to_instants(pa.array([-1], pa.timestamp("ns"))).cast(pa.int64()).to_pylist() == [-1]


def test_a_cast_that_only_renames_the_type_copies_nothing() -> None:
    for kind in (pa.timestamp("us"), pa.timestamp("us", "Asia/Tokyo")):
        done = accepted(conformed(pa.record_batch({"ts": pa.array([1], kind)}), columns={"ts": "timestamptz"}))
        assert done.copies.cast_bytes == 0


# What DuckDB cannot hold


def test_digits_are_dropped_only_where_a_cast_was_declared() -> None:
    batch = pa.record_batch({"ts": pa.array([1_001], pa.timestamp("ns", "UTC"))})
    refused = conformed(batch)
    assert isinstance(refused, Rejection)
    assert refused.reason is Reason.CAST
    assert not isinstance(conformed(batch, columns={"ts": "timestamptz"}), Rejection)
    assert isinstance(conformed(pa.record_batch({"at": pa.array([1_001], pa.time64("ns"))})), Rejection)


BEYOND = [
    pa.array([-(2**63)], pa.timestamp("us", "UTC")),
    pa.array([-(2**63)], pa.timestamp("us")),
    pa.array([-(2**63)], pa.timestamp("ns")),
    pa.array([2**63 - 2], pa.timestamp("ms")),
    pa.array([2**62], pa.timestamp("s")),
    pa.array([-(2**31)], pa.int32()).view(pa.date32()),
]


@pytest.mark.parametrize("column", BEYOND, ids=lambda column: str(column.type))
def test_a_time_that_duckdb_cannot_hold_is_refused_at_any_depth(column: pa.Array) -> None:
    listed = pa.ListArray.from_arrays([0, 1], column)
    struct = pa.StructArray.from_arrays([column], names=["a"])
    mapped = pa.MapArray.from_arrays([0, 1], ["k"], column)
    for nested in (column, listed, struct, mapped, pa.ListArray.from_arrays([0, 1], struct)):
        refused = conformed(pa.record_batch({"c": nested}))
        assert isinstance(refused, Rejection)
        assert "column c, row 0" in refused.detail


def test_what_lies_under_a_null_does_not_count() -> None:
    hidden = pa.StructArray.from_arrays([pa.array([-(2**63)], pa.timestamp("us"))], names=["a"], mask=pa.array([True]))
    assert bounded(hidden) is hidden


def test_an_instant_of_any_zone_has_one_type_in_the_table() -> None:
    batch = pa.record_batch({"ts": pa.array([5], pa.timestamp("s", "Asia/Tokyo"))})
    assert accepted(conformed(batch)).batch.column("ts").type == TIMESTAMPTZ


# Values that become NULL


_SPELLINGS = (
    st.sampled_from(["2026", "0000", "9999", "1900", "2000", "2024", "202"]),
    st.sampled_from(["-01", "-02", "-04", "-12", "-13", "-00"]),
    st.sampled_from(["-01", "-28", "-29", "-30", "-31", "-32", "-5"]),
    st.sampled_from(["", "T", " ", "t", "x"]),
    st.sampled_from(["00", "23", "24", ""]),
    st.sampled_from(["", ":59", ":60"]),
    st.sampled_from(["", ":59", ":60", ":59.1", ":59,123456789", ":59."]),
    st.sampled_from(["", "Z", "z", "+01", "-0100", "+23:59", "+24:00", "+01:60", " UTC"]),
)


@given(st.lists(st.one_of(st.none(), st.tuples(*_SPELLINGS).map("".join), st.text(max_size=5)), max_size=6))
def test_exactly_the_values_that_cannot_be_cast_become_null(texts: list[str | None]) -> None:
    done = accepted(
        conformed(
            pa.record_batch({"at": pa.array(texts, pa.string())}), columns={"at": "timestamptz"}, on_cast_error="null"
        )
    )
    alone = [_cast_alone(text) for text in texts]
    assert done.batch.column("at").cast(pa.int64()).to_pylist() == alone
    assert done.nulled == alone.count(None) - texts.count(None)


def _cast_alone(text: str | None) -> int | None:
    try:
        [instant] = to_instants(pa.array([text], pa.string())).cast(pa.int64()).to_pylist()
    except pa.ArrowInvalid:
        return None
    return int(instant) if instant is not None else None


@pytest.mark.parametrize(
    "column",
    [
        *(column for column in BEYOND if column.type != pa.timestamp("ns")),
        pa.array(["soon"]).dictionary_encode(),
        pa.array(["soon"], pa.string_view()),
        pa.array([2**62 // 86_400_000 * 86_400_000], pa.int64()).view(pa.date64()),
    ],
    ids=lambda column: str(column.type),
)
def test_a_value_of_any_type_that_is_cast_becomes_null_and_is_counted(column: pa.Array) -> None:
    both = pa.record_batch({"ts": column, "other": column})
    settings: dict[str, Any] = {"columns": {"ts": "timestamptz"}, "on_cast_error": "null"}
    done = accepted(conformed(both.select(["ts"]), **settings))
    assert (done.batch.column("ts").null_count, done.nulled) == (1, 1)
    if pa.types.is_temporal(column.type):
        refused = conformed(both, **settings)
        assert isinstance(refused, Rejection), "only declared casts may lose a value"
        assert "column other" in refused.detail


def test_values_that_fit_are_not_touched_by_leniency() -> None:
    batch = pa.record_batch({"ts": pa.array([1, None], TIMESTAMPTZ)})
    done = accepted(conformed(batch, columns={"ts": "timestamptz"}, on_cast_error="null"))
    assert addresses(done.batch.column("ts")) == addresses(batch.column("ts"))
    assert (done.nulled, done.copies.by_cause) == (0, {})


# Key and headers


def test_key_and_headers_stand_in_every_row_and_are_asked_for_only_then() -> None:
    batch = pa.record_batch({"a": [1, 2]})
    asked: list[str] = []

    def key() -> bytes:
        asked.append("key")
        return b"\x00\xff"

    stamped = replace(stamp(), key=key, headers=lambda: (("h", b"1"), ("h", None)))
    plain = conform(batch, plan(batch.schema), stamped, first_row=0)
    assert "_kafka_key" not in accepted(plain).batch.schema.names
    assert not asked
    columns = [*DEFAULT_METADATA_COLUMNS, "_kafka_key", "_kafka_headers"]
    wide = plan(batch.schema, metadata_columns=columns)
    rows = accepted(conform(batch, wide, stamped, first_row=0)).batch.select(["_kafka_key", "_kafka_headers"])
    headers = [{"key": "h", "value": b"1"}, {"key": "h", "value": None}]
    assert rows.to_pylist() == [{"_kafka_key": b"\x00\xff", "_kafka_headers": headers}] * 2
    rows.validate(full=True)
    nothing = accepted(conform(batch, wide, stamp(), first_row=0)).batch.select(["_kafka_key", "_kafka_headers"])
    assert nothing.to_pylist() == [{"_kafka_key": None, "_kafka_headers": []}] * 2


def test_a_key_that_would_fill_memory_with_its_rows_is_refused() -> None:
    batch = pa.record_batch({"a": pa.nulls(1_000, pa.int8())})
    wide = plan(
        batch.schema,
        metadata_columns=[*DEFAULT_METADATA_COLUMNS, "_kafka_key"],
        limits={"max_logical_bytes": 1_000_000},
    )
    refused = conform(batch, wide, replace(stamp(), key=lambda: bytes(2_000)), first_row=0)
    assert isinstance(refused, Rejection)
    assert refused.reason is Reason.LOGICAL_SIZE
