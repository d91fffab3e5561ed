"""The table's columns and a message's Arrow schema in; what the table becomes, or a rejection, out. Pure: no engine.

Policy ``evolve``: new columns are added and are nullable, lossless widening is applied (see `widening`), missing
columns become NULL, a conflict is a rejection. Policy ``freeze``: the first message makes the table, and whatever a
later one would change is a rejection. Columns are matched by name without regard to ASCII case, as DuckDB
does; their order in the message never matters. A column of nulls says nothing of its type: it is added once a typed
one comes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TypeVar, cast

import pyarrow as pa

from arrow_ingest.config import PipelineConfig
from arrow_ingest.errors import LakeMismatch
from arrow_ingest.lake.sqltypes import (
    HEADERS,
    TIMESTAMPTZ,
    arrow_type,
    canonical_text,
    fold,
    is_text,
    sql_text,
    storable,
)
from arrow_ingest.lake.value_partitions import is_partitionable
from arrow_ingest.lake.widening import merged
from arrow_ingest.values import Reason, Rejection

METADATA_TYPES: Mapping[str, pa.DataType] = MappingProxyType(
    {
        "_inserted_at": TIMESTAMPTZ,
        "_kafka_generation": pa.int32(),
        "_kafka_partition": pa.int32(),
        "_kafka_offset": pa.int64(),
        "_kafka_row": pa.int32(),
        "_kafka_timestamp": TIMESTAMPTZ,
        "_kafka_key": pa.binary(),
        "_kafka_headers": HEADERS,
    }
)
"""Types of the columns that say where a row came from."""

_REMEMBERED_SCHEMAS = 256
"""Schemas whose outcome a plan remembers; topics have a handful, and hostile ones must not fill memory."""

_MAX_DETAIL = 500
"""Characters of a rejection that lists columns."""

_Outcome = TypeVar("_Outcome")
_Routes = TypeVar("_Routes")


@dataclass(frozen=True, slots=True)
class Column:
    """A table column. Any spelling of the type is taken; one per type is kept, so that columns can be compared.

    >>> Column("s", 'STRUCT(a INTEGER)') == Column("s", 'STRUCT("a" INTEGER)')
    True
    """

    name: str
    sql_type: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "sql_type", canonical_text(self.sql_type))


@dataclass(frozen=True, slots=True)
class TableSchema:
    """A table's columns in their order, metadata columns included."""

    columns: tuple[Column, ...]


@dataclass(frozen=True, slots=True)
class CreateTable:
    """The table is new; partitioning is set right after."""

    columns: tuple[Column, ...]

    def __str__(self) -> str:
        return "create table: " + ", ".join(f"{column.name} {column.sql_type}" for column in self.columns)


@dataclass(frozen=True, slots=True)
class AddColumn:
    """``ALTER TABLE … ADD COLUMN``; nullable."""

    name: str
    sql_type: str

    def __str__(self) -> str:
        return f"add column {self.name} {self.sql_type}"


@dataclass(frozen=True, slots=True)
class Widen:
    """``ALTER TABLE … ALTER name SET DATA TYPE``; DuckLake takes nested types whole: new struct fields are this too."""

    name: str
    sql_type_from: str
    sql_type_to: str

    def __str__(self) -> str:
        return f"widen column {self.name} from {self.sql_type_from} to {self.sql_type_to}"


SchemaChange = CreateTable | AddColumn | Widen


@dataclass(frozen=True, slots=True)
class _Rules:
    """What the YAML says about columns. Names are folded, save those of columns that are yet to be made.

    Args:
        casts: columns that become TIMESTAMPTZ.
        nulls_failed_casts: values that cannot be cast become NULL.
        instant: the column whose UTC hour, day or month is the table partition.
        value: the column whose value is the table partition.
        is_frozen: no message changes a table that is there.
        foreign: columns of the table whose SQL type is never staged (UUID, HUGEINT, …), with that type.
        max_columns: columns that the table may grow to by messages.
        max_repeated_bytes: of one message's key or headers, in all of its rows.
    """

    casts: frozenset[str]
    nulls_failed_casts: bool
    instant: str | None
    value: str | None
    is_frozen: bool
    metadata: tuple[str, ...]
    foreign: Mapping[str, str]
    max_columns: int
    max_repeated_bytes: int

    def is_instant(self, name: str) -> bool:
        """Whether a folded name is that of the column whose time is the table partition."""
        return self.instant is not None and name == fold(self.instant)

    def is_value(self, name: str) -> bool:
        """Whether a folded name is that of the column whose value is the table partition."""
        return self.value is not None and name == fold(self.value)


@dataclass(frozen=True, slots=True)
class TablePlan:
    """What the table was when the plan was made, and what the messages so far make of it.

    Args:
        base: the catalog's columns when the plan was made; None: there was no table.
        target: every staged batch has this schema: all columns that we stage, metadata columns included, in table
            order. Empty while there is no table and no message has been seen.
    """

    base: TableSchema | None
    target: pa.Schema
    _rules: _Rules = field(repr=False)
    _extended: dict[pa.Schema, "TablePlan | Rejection"] = field(default_factory=dict, repr=False, compare=False)
    _routes: dict[pa.Schema, object] = field(default_factory=dict, repr=False, compare=False)

    @property
    def table(self) -> TableSchema:
        """The catalog's columns once `changes` are applied."""
        held = () if self.base is None else self.base.columns
        staged = {fold(item.name): Column(item.name, sql_text(item.type)) for item in self.target}
        kept = [staged.pop(fold(column.name), column) for column in held]
        return TableSchema((*kept, *staged.values()))

    @property
    def changes(self) -> tuple[SchemaChange, ...]:
        """What turns `base` into `table`, in the order in which to apply it."""
        if self.base is None:
            return (CreateTable(self.table.columns),) if len(self.target) else ()
        return changes_between(self.base, self.table)

    def extend(self, incoming: pa.Schema) -> "TablePlan | Rejection":
        """The plan after a message of this schema: this very object when nothing changes.

        A schema seen before costs its hash, about 3 µs for eight columns.
        """
        outcome = self._extended.get(incoming)
        if outcome is None:
            outcome = self._evolved(incoming)
            _remember(self._extended, incoming, outcome)
        return outcome

    def sources(self, incoming: pa.Schema) -> tuple[int | None, ...]:
        """For each column of `target`, the index of the message's column that fills it; None where it has none."""
        index = {fold(name): position for position, name in enumerate(incoming.names)}
        return tuple(index.get(fold(name)) for name in self.target.names)

    def routed(self, incoming: pa.Schema, make: Callable[[], _Routes]) -> _Routes:
        """What ``make`` says of messages of this schema under this plan; asked once and remembered."""
        found = self._routes.get(incoming)
        if found is None:
            found = make()
            _remember(self._routes, incoming, found)
        return cast("_Routes", found)

    def is_declared_cast(self, name: str) -> bool:
        """Whether the pipeline's YAML casts this column."""
        return fold(name) in self._rules.casts

    @property
    def nulls_failed_casts(self) -> bool:
        """Whether a value that a declared cast refuses becomes NULL; otherwise its message is rejected."""
        return self._rules.nulls_failed_casts

    @property
    def max_repeated_bytes(self) -> int:
        """How large one message's key or headers may become by standing in all of its rows."""
        return self._rules.max_repeated_bytes

    def committed(self) -> "TablePlan":
        """The plan to go on with once this one's changes are in the catalog."""
        return replace(self, base=self.table, _extended={}, _routes={}) if self.changes else self

    def _evolved(self, incoming: pa.Schema) -> "TablePlan | Rejection":
        offered = _offered(incoming, self._rules)
        if isinstance(offered, Rejection):
            return offered
        grown = _grown(self.target, offered, self._rules, is_new=self.base is None)
        if isinstance(grown, Rejection):
            return grown
        if self._rules.is_frozen and grown != self.target and any(map(_is_own, self.target.names)):
            return _frozen(self.target, grown)
        return self if grown == self.target else replace(self, target=grown, _extended={}, _routes={})


def plan_for(config: PipelineConfig, base: TableSchema | None) -> TablePlan:
    """The plan for a table as the catalog holds it; metadata columns that it lacks are added.

    Raises:
        LakeMismatch: a metadata, cast or partition column has another type in the table than the YAML asks for.
    """
    held = {} if base is None else {column.name: arrow_type(column.sql_type) for column in base.columns}
    columns = () if base is None else base.columns
    by = config.partition_by
    rules = _Rules(
        casts=frozenset(fold(name) for name in config.columns),
        nulls_failed_casts=config.on_cast_error == "null",
        instant=by.column if by is not None and by.unit != "value" else None,
        value=by.column if by is not None and by.unit == "value" else None,
        is_frozen=config.schema_policy == "freeze",
        metadata=config.metadata_columns,
        foreign={fold(column.name): column.sql_type for column in columns if held[column.name] is None},
        max_columns=config.limits.max_columns + len(config.metadata_columns),
        max_repeated_bytes=config.limits.max_logical_bytes,
    )
    for column in columns:
        _check_column(column, _demanded_type(fold(column.name), rules))
    target = pa.schema([pa.field(name, kind) for name, kind in held.items() if kind is not None])
    return TablePlan(base=base, target=target if base is None else _with_metadata(target, rules), _rules=rules)


def changes_between(base: TableSchema, table: TableSchema) -> tuple[SchemaChange, ...]:
    """What turns ``base`` into ``table``, which has all of its columns, wider ones and new ones.

    >>> one = TableSchema((Column("a", "INTEGER"),))
    >>> [str(change) for change in changes_between(one, TableSchema((Column("a", "BIGINT"), Column("b", "VARCHAR"))))]
    ['widen column a from INTEGER to BIGINT', 'add column b VARCHAR']
    """
    held = {fold(column.name): column for column in base.columns}
    changes: list[SchemaChange] = []
    for column in table.columns:
        before = held.get(fold(column.name))
        if before is None:
            changes.append(AddColumn(column.name, column.sql_type))
        elif before.sql_type != column.sql_type:
            changes.append(Widen(before.name, before.sql_type, column.sql_type))
    return tuple(changes)


def _offered(incoming: pa.Schema, rules: _Rules) -> dict[str, pa.Field] | Rejection:
    """The message's columns by folded name, with storable types and declared casts applied."""
    offered: dict[str, pa.Field] = {}
    for column in incoming:
        name = fold(column.name)
        if name in offered:
            return Rejection(Reason.INVALID_NAME, f"{offered[name].name} and {column.name} are one name to DuckDB")
        kind = _offered_type(column, name, rules)
        if isinstance(kind, Rejection):
            return kind
        offered[name] = pa.field(column.name, kind)
    return offered


def _offered_type(column: pa.Field, name: str, rules: _Rules) -> pa.DataType | Rejection:
    if name in METADATA_TYPES:
        return Rejection(Reason.SCHEMA_CONFLICT, f"column {column.name} is one of arrow_ingest's own")
    if name in rules.foreign and not pa.types.is_null(column.type):
        return _conflict(column.name, rules.foreign[name], column.type)
    kind = storable(column.type)
    if kind is None:
        return Rejection(Reason.TYPE_NOT_ALLOWED, f"column {column.name}: DuckLake has no type for {column.type}")
    if name in rules.casts:
        return TIMESTAMPTZ if _is_castable(kind) else _conflict(column.name, sql_text(TIMESTAMPTZ), column.type)
    if rules.is_instant(name) and kind not in (TIMESTAMPTZ, pa.null()):
        advice = f" (declare `columns: {{{column.name}: timestamptz}}`)" if _is_castable(kind) else ""
        return _conflict(column.name, sql_text(TIMESTAMPTZ), column.type, advice)
    if rules.is_value(name) and not (is_partitionable(kind) or pa.types.is_null(kind)):
        return Rejection(Reason.SCHEMA_CONFLICT, f"column {column.name}: no table is partitioned by {column.type}")
    return kind


def _grown(target: pa.Schema, offered: Mapping[str, pa.Field], rules: _Rules, *, is_new: bool) -> pa.Schema | Rejection:
    """``target`` with each offered column merged in; in a table that is yet to be made, metadata columns stand last."""
    fields = {fold(item.name): item for item in target}
    added = 0
    for name, column in offered.items():
        held = fields.get(name)
        kind = column.type if held is None else merged(held.type, column.type)
        if kind is None:
            return _conflict(column.name, sql_text(fields[name].type), column.type)
        if not pa.types.is_null(kind):
            added += held is None
            fields[name] = pa.field(column.name if held is None else held.name, kind)
    if is_new and rules.value is not None and fold(rules.value) not in fields:
        return Rejection(
            Reason.SCHEMA_CONFLICT,
            f"the message would make the table, and has no typed column {rules.value} to part it",
        )
    if is_new and rules.instant is not None:
        fields.setdefault(fold(rules.instant), pa.field(rules.instant, TIMESTAMPTZ))
    if added and len(fields) > rules.max_columns:
        return Rejection(
            Reason.TOO_MANY_COLUMNS, f"the table would grow to {len(fields)} columns, over limits.max_columns"
        )
    if is_new:
        fields = {name: item for name, item in fields.items() if name not in METADATA_TYPES}
    return _with_metadata(pa.schema(fields.values()), rules)


def _is_own(name: str) -> bool:
    """Whether a column is the messages', not one of arrow_ingest's."""
    return fold(name) not in METADATA_TYPES


def _frozen(target: pa.Schema, grown: pa.Schema) -> Rejection:
    """What a message brings that a frozen table does not take."""
    held = {item.name: item.type for item in target}
    news = [f"{item.name} {sql_text(item.type)}" for item in grown if held.get(item.name) != item.type]
    return Rejection(Reason.SCHEMA_FROZEN, f"new to the table: {', '.join(news)}"[:_MAX_DETAIL])


def _with_metadata(target: pa.Schema, rules: _Rules) -> pa.Schema:
    held = {fold(name) for name in target.names}
    missing = [pa.field(name, METADATA_TYPES[name]) for name in rules.metadata if name not in held]
    return pa.schema([*target, *missing]) if missing else target


def _is_castable(kind: pa.DataType) -> bool:
    """Whether a declared cast to timestamptz takes this type: text, dates, timestamps, and nulls of no type."""
    return is_text(kind) or pa.types.is_date(kind) or pa.types.is_timestamp(kind) or pa.types.is_null(kind)


def _conflict(name: str, held: str, incoming: pa.DataType, advice: str = "") -> Rejection:
    return Rejection(
        Reason.SCHEMA_CONFLICT,
        f"column {name} is {held} in the table and {incoming} in the message, which it cannot hold{advice}",
    )


def _demanded_type(name: str, rules: _Rules) -> pa.DataType | None:
    if name in METADATA_TYPES:
        return METADATA_TYPES[name]
    return TIMESTAMPTZ if name in rules.casts or rules.is_instant(name) else None


def _check_column(column: Column, demanded: pa.DataType | None) -> None:
    if demanded is not None and arrow_type(column.sql_type) != demanded:
        raise LakeMismatch(
            f"column {column.name} is {column.sql_type} in the table, but the YAML makes it {sql_text(demanded)}: "
            "choose another table, or take the column out of `columns` and `partition_by`"
        )


def _remember(cache: dict[pa.Schema, _Outcome], schema: pa.Schema, outcome: _Outcome) -> None:
    if len(cache) >= _REMEMBERED_SCHEMAS:
        cache.clear()
    cache[schema] = outcome
