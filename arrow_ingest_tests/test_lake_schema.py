"""What messages' schemas make of a table: laws, and the contract with DuckLake that they rest on."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arrow_ingest.errors import LakeMismatch
from arrow_ingest.lake.schema import (
    METADATA_TYPES,
    AddColumn,
    Column,
    CreateTable,
    TablePlan,
    TableSchema,
    Widen,
    plan_for,
)
from arrow_ingest.lake.sqltypes import TIMESTAMPTZ, arrow_type, fold, sql_text, storable
from arrow_ingest.lake.widening import merged
from arrow_ingest.table_shape import DEFAULT_METADATA_COLUMNS
from arrow_ingest.values import Reason, Rejection
from arrow_ingest_tests.arrow_strategies import FLAT_TYPES, schemas, supported_types
from arrow_ingest_tests.staged_table import StagedTable, accepted, by_day, pipeline, tables_of

FLAT = sorted({storable(kind) for kind in FLAT_TYPES}, key=str)
METADATA = list(DEFAULT_METADATA_COLUMNS)


def storable_types() -> st.SearchStrategy[pa.DataType]:
    return supported_types().map(storable).filter(lambda kind: not pa.types.is_null(kind))


@pytest.fixture(scope="module")
def make_table(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., StagedTable]]:
    with tables_of(tmp_path_factory.mktemp("lake")) as make:
        yield make


def table_of(**columns: str) -> TableSchema:
    """A table of these columns and the metadata columns."""
    metadata = {name: sql_text(METADATA_TYPES[name]) for name in METADATA}
    return TableSchema(tuple(Column(name, kind) for name, kind in (columns | metadata).items()))


def plan(base: TableSchema | None = None, **settings: Any) -> TablePlan:
    return plan_for(pipeline(Path("/nowhere"), **settings), base)


def names(extended: TablePlan | Rejection) -> list[str]:
    return list(accepted(extended).target.names)


# What DuckLake says


def test_flat_types_are_spelled_as_the_catalog_spells_them(make_table: Callable[..., StagedTable]) -> None:
    table = make_table()
    listed = ", ".join(f"c{i} {sql_text(kind)}" for i, kind in enumerate(FLAT))
    table.lake.execute(f"CREATE TABLE {table.name} ({listed})")
    found = table.lake.execute(
        "SELECT data_type FROM duckdb_columns() WHERE table_name = ? ORDER BY column_index", [table.config.lake.table]
    )
    assert [text for (text,) in found] == [sql_text(kind) for kind in FLAT]


@settings(max_examples=40, deadline=None)
@given(st.lists(storable_types(), min_size=1, max_size=5))
def test_every_storable_type_comes_back_from_the_catalog(
    make_table: Callable[..., StagedTable], kinds: list[pa.DataType]
) -> None:
    table = make_table()
    columns = [Column(f"c{i}", sql_text(kind)) for i, kind in enumerate(kinds)]
    listed = ", ".join(f"{column.name} {column.sql_type}" for column in columns)
    table.lake.execute(f"CREATE TABLE {table.name} ({listed})")
    assert table.schema() == TableSchema(tuple(columns))
    assert [arrow_type(column.sql_type) for column in columns] == kinds


@pytest.mark.parametrize(
    "name", ["a b", 'quo"te', "select", "1x", "Zed", "É", "a,b", "x)", "[]", "TIMESTAMP WITH", "'"]
)
def test_struct_fields_of_any_name_come_back_from_the_catalog(
    make_table: Callable[..., StagedTable], name: str
) -> None:
    table = make_table()
    kind = pa.struct([(name, pa.struct([(name, pa.int8())])), ("other", pa.decimal128(4, 2))])
    table.lake.execute(f"CREATE TABLE {table.name} (c {sql_text(kind)})")
    held = table.schema()
    assert held is not None
    assert arrow_type(held.columns[0].sql_type) == kind


def test_every_widening_is_one_that_ducklake_applies_and_reads_old_files_through(
    make_table: Callable[..., StagedTable],
) -> None:
    pairs = [
        (narrow, incoming, wide)
        for narrow, incoming in itertools.product([*FLAT, pa.decimal128(4, 1)], repeat=2)
        if (wide := merged(narrow, incoming)) not in (None, narrow)
    ]
    table = make_table()
    narrow = pa.table({f"c{i}": pa.array([1], held) for i, (held, _, _) in enumerate(pairs)})
    wide = pa.table({f"c{i}": pa.array([1], incoming) for i, (_, incoming, _) in enumerate(pairs)})
    old_files = table.ingest(narrow)
    table.ingest(wide)
    table.add(old_files)  # as if they had been staged earlier in the micro-batch that widens
    held = table.schema()
    assert held is not None
    assert [arrow_type(column.sql_type) for column in held.columns[: len(pairs)]] == [wide for _, _, wide in pairs]
    for i, (held_kind, incoming, kind) in enumerate(pairs):
        old, new = pa.array([1, 1], held_kind).cast(kind), pa.array([1], incoming).cast(kind)
        assert table.rows(f"c{i}").column(0).to_pylist() == [*old.to_pylist(), *new.to_pylist()]
    assert len(pairs) > 40


def test_nested_types_grow_and_old_files_read_as_null(make_table: Callable[..., StagedTable]) -> None:
    table = make_table()
    before = pa.struct([("a", pa.int32()), ("in", pa.struct([("c", pa.int8())]))])
    after = pa.struct([("New", pa.string()), ("IN", pa.struct([("d", pa.date32()), ("c", pa.int16())]))])
    old = {"a": 1, "in": {"c": 2}}
    shapes = (
        lambda kind: kind,
        pa.list_,
        lambda kind: pa.list_(pa.list_(kind)),
        lambda kind: pa.map_(pa.string(), kind),
    )
    wrap = (lambda v: v, lambda v: [v], lambda v: [[v]], lambda v: [("k", v)])
    files = table.ingest(pa.table({f"c{i}": pa.array([wrap[i](old)], shape(before)) for i, shape in enumerate(shapes)}))
    new = {"New": "n", "IN": {"d": None, "c": 300}}
    table.ingest(pa.table({f"c{i}": pa.array([wrap[i](new)], shape(after)) for i, shape in enumerate(shapes)}))
    table.add(files)
    seen_old = {"a": 1, "in": {"c": 2, "d": None}, "New": None}
    seen_new = {"a": None, "in": {"c": 300, "d": None}, "New": "n"}
    for i in range(len(shapes)):
        assert table.rows(f"c{i}").column(0).to_pylist() == [wrap[i](seen_old)] * 2 + [wrap[i](seen_new)]


def test_names_are_matched_as_duckdb_matches_them(make_table: Callable[..., StagedTable]) -> None:
    table = make_table()
    table.ingest(pa.table({"Name": ["a"], "É": [1], "é": [2]}))
    table.ingest(pa.table({"é": [4], "nAME": ["b"], "É": [3]}))
    assert table.rows("Name", "É", "é").to_pylist() == [{"Name": "a", "É": 1, "é": 2}, {"Name": "b", "É": 3, "é": 4}]


# The lattice of types


@given(storable_types(), storable_types())
def test_a_merged_type_takes_both_of_its_parts_and_stays(one: pa.DataType, other: pa.DataType) -> None:
    both = merged(one, other)
    if both is not None:
        assert merged(both, one) == both
        assert merged(both, other) == both
        assert arrow_type(sql_text(both)) == both


@given(storable_types())
def test_a_type_merged_with_itself_or_with_nulls_is_itself(kind: pa.DataType) -> None:
    assert merged(kind, kind) == kind
    assert merged(kind, pa.null()) == kind


@pytest.mark.parametrize(
    ("held", "incoming"),
    [
        (pa.int64(), pa.uint64()),
        (pa.uint64(), pa.int8()),
        (pa.float64(), pa.int64()),
        (pa.float32(), pa.int32()),
        (pa.int32(), pa.float64()),
        (pa.timestamp("us"), pa.timestamp("ns")),
        (pa.timestamp("us"), TIMESTAMPTZ),
        (pa.date32(), pa.timestamp("us")),
        (pa.string(), pa.binary()),
        (pa.bool_(), pa.int8()),
        (pa.decimal128(38, 0), pa.decimal128(38, 1)),
        (pa.string(), pa.list_(pa.string())),
        (pa.map_(pa.int32(), pa.string()), pa.map_(pa.int64(), pa.string())),
        (pa.struct([("a", pa.int64())]), pa.struct([("A", pa.string())])),
    ],
)
def test_what_would_lose_something_is_a_conflict(held: pa.DataType, incoming: pa.DataType) -> None:
    assert merged(held, incoming) is None


# Plans


def test_a_new_table_has_the_messages_columns_then_the_metadata_columns() -> None:
    extended = plan().extend(pa.schema([("b", pa.large_string()), ("a", pa.int8()), ("nothing", pa.null())]))
    assert names(extended) == ["b", "a", *METADATA]
    (change,) = accepted(extended).changes
    assert isinstance(change, CreateTable)
    assert change.columns[:2] == (Column("b", "VARCHAR"), Column("a", "TINYINT"))


def test_no_table_is_made_before_a_message_was_seen() -> None:
    assert plan().changes == ()
    assert plan().committed().base is None


def test_a_plan_that_changes_nothing_is_the_same_object() -> None:
    extended = accepted(plan().extend(pa.schema([("a", pa.int32()), ("b", pa.string())])))
    for narrower in (pa.schema([("B", pa.string())]), pa.schema([("a", pa.int8())]), pa.schema([("a", pa.null())])):
        assert extended.extend(narrower) is extended


def test_columns_that_come_later_stand_last_in_a_table_that_exists() -> None:
    extended = plan(table_of(a="INTEGER")).extend(pa.schema([("x", pa.bool_()), ("A", pa.int64())]))
    assert names(extended) == ["a", *METADATA, "x"]
    assert accepted(extended).changes == (Widen("a", "INTEGER", "BIGINT"), AddColumn("x", "BOOLEAN"))


def test_once_committed_a_plan_has_nothing_left_to_change() -> None:
    extended = accepted(plan(table_of(a="INTEGER")).extend(pa.schema([("x", pa.bool_())])))
    after = extended.committed()
    assert after.changes == ()
    assert after.base == extended.table
    assert after.target == extended.target


def test_a_conflict_names_the_column_and_both_types() -> None:
    refused = plan(table_of(team="BIGINT")).extend(pa.schema([("Team", pa.string())]))
    assert isinstance(refused, Rejection)
    assert refused.reason is Reason.SCHEMA_CONFLICT
    assert all(part in refused.detail for part in ("Team", "BIGINT", "string"))


@pytest.mark.parametrize("name", ["_kafka_offset", "_INSERTED_AT"])
def test_a_message_cannot_write_metadata_columns(name: str) -> None:
    refused = plan().extend(pa.schema([(name, pa.int64())]))
    assert isinstance(refused, Rejection)
    assert refused.reason is Reason.SCHEMA_CONFLICT


def test_two_columns_of_one_name_are_refused() -> None:
    refused = plan().extend(pa.schema([("a", pa.int64()), ("A", pa.int64())]))
    assert isinstance(refused, Rejection)
    assert refused.reason is Reason.INVALID_NAME


@pytest.mark.parametrize("kind", [pa.duration("s"), pa.month_day_nano_interval(), pa.struct([]), pa.decimal256(40, 0)])
def test_a_type_that_ducklake_lacks_is_refused_at_any_depth(kind: pa.DataType) -> None:
    for wrapped in (kind, pa.list_(kind), pa.struct([("a", kind)])):
        refused = plan().extend(pa.schema([("c", wrapped)]))
        assert isinstance(refused, Rejection)
        assert refused.reason is Reason.TYPE_NOT_ALLOWED


def test_messages_cannot_grow_a_table_without_end() -> None:
    limited = plan(limits={"max_columns": 2})
    extended = accepted(limited.extend(pa.schema([("a", pa.int8()), ("b", pa.int8())])))
    refused = extended.extend(pa.schema([("c", pa.int8())]))
    assert isinstance(refused, Rejection)
    assert refused.reason is Reason.TOO_MANY_COLUMNS
    assert extended.extend(pa.schema([("a", pa.int64())])) is not refused


@pytest.mark.parametrize("kind", [pa.string(), pa.string_view(), pa.timestamp("ns"), pa.date32(), pa.null()])
def test_a_declared_cast_decides_the_type(kind: pa.DataType) -> None:
    extended = accepted(plan(columns={"TS": "timestamptz"}).extend(pa.schema([("ts", kind)])))
    assert extended.target.field("ts").type == TIMESTAMPTZ
    assert extended.is_declared_cast("Ts")


def test_a_declared_cast_takes_no_numbers() -> None:
    assert isinstance(plan(columns={"ts": "timestamptz"}).extend(pa.schema([("ts", pa.int64())])), Rejection)


def test_a_partition_column_without_zone_is_refused_with_advice() -> None:
    by_instant = {"partition_by": {"column": "ts", "start": "2026-01-01"}}
    refused = plan(**by_instant).extend(pa.schema([("ts", pa.timestamp("us"))]))
    assert isinstance(refused, Rejection)
    assert "columns: {ts: timestamptz}" in refused.detail
    assert not isinstance(plan(**by_instant).extend(pa.schema([("ts", pa.timestamp("ms", "+01:00"))])), Rejection)


def test_a_partitioned_table_has_its_column_although_the_first_message_lacks_it() -> None:
    assert names(plan(**by_day()).extend(pa.schema([("a", pa.int8())]))) == ["a", "ts", *METADATA]


def test_a_table_of_another_type_than_the_yaml_asks_for_is_refused() -> None:
    with pytest.raises(LakeMismatch, match="ts"):
        plan(table_of(ts="VARCHAR"), columns={"ts": "timestamptz"})
    with pytest.raises(LakeMismatch, match="_kafka_offset"):
        plan(TableSchema((Column("_kafka_offset", "VARCHAR"),)))


def test_metadata_columns_that_a_table_lacks_are_added() -> None:
    changes = plan(TableSchema((Column("a", "INTEGER"),))).changes
    assert changes == tuple(AddColumn(name, sql_text(METADATA_TYPES[name])) for name in METADATA)


def test_columns_that_are_never_staged_stay_and_take_no_values() -> None:
    held = plan(table_of(id="UUID"))
    assert "id" not in held.target.names
    assert held.table.columns[0] == Column("id", "UUID")
    assert held.extend(pa.schema([("ID", pa.null())])) is held
    assert isinstance(held.extend(pa.schema([("ID", pa.string())])), Rejection)


@given(st.lists(schemas(), max_size=5))
def test_what_a_plan_has_taken_once_it_takes_for_ever(incoming: list[pa.Schema]) -> None:
    grown, taken = plan(), []
    for schema in incoming:
        extended = grown.extend(schema)
        if not isinstance(extended, Rejection):
            grown = extended
            taken.append(schema)
    for schema in taken:
        assert grown.extend(schema) is grown
        assert len(grown.sources(schema)) == len(grown.target)
    assert len({fold(name) for name in grown.target.names}) == len(grown.target)


# Freeze


@pytest.mark.parametrize(
    ("news", "named"),
    [
        ({"b": pa.int64()}, "b BIGINT"),
        ({"a": pa.int64()}, "a BIGINT"),
        ({"s": pa.struct([("x", pa.int32()), ("y", pa.string())])}, '"y" VARCHAR'),
    ],
    ids=["column", "widening", "struct field"],
)
def test_a_frozen_table_takes_nothing_new_and_misses_nothing(news: dict[str, pa.DataType], named: str) -> None:
    made = accepted(
        plan(schema_policy="freeze").extend(
            pa.schema([("a", pa.int32()), ("s", pa.struct([("x", pa.int32())])), ("later", pa.null())])
        )
    )
    for frozen in (made, made.committed(), plan(made.table, schema_policy="freeze")):
        refused = frozen.extend(pa.schema(list(news.items())))
        assert isinstance(refused, Rejection)
        assert refused.reason is Reason.SCHEMA_FROZEN
        assert named in refused.detail
        assert frozen.extend(pa.schema([("A", pa.int8())])) is frozen


@given(st.lists(schemas(), min_size=1, max_size=4))
def test_a_frozen_table_takes_what_would_change_nothing(incoming: list[pa.Schema]) -> None:
    frozen, evolving = plan(schema_policy="freeze"), plan()
    first = frozen.extend(incoming[0])
    if isinstance(first, Rejection) or not set(first.target.names) - set(METADATA):
        return
    made = accepted(evolving.extend(incoming[0]))
    assert first.target == made.target
    for schema in incoming[1:]:
        outcome, evolved = first.extend(schema), made.extend(schema)
        assert (outcome is first) == (evolved is made)


def test_a_table_by_value_is_made_by_a_message_that_has_the_column() -> None:
    by_value = plan(partition_by={"column": "team", "unit": "value"})
    for refused in (
        pa.schema([("a", pa.int8())]),
        pa.schema([("team", pa.null())]),
        pa.schema([("Team", pa.float64())]),
    ):
        outcome = by_value.extend(refused)
        assert isinstance(outcome, Rejection)
        assert outcome.reason is Reason.SCHEMA_CONFLICT
    made = accepted(by_value.extend(pa.schema([("Team", pa.int8())])))
    assert made.extend(pa.schema([("team", pa.null())])) is made
