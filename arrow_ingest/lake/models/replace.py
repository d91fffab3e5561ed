"""Staged partitions of a model in, the transaction out that puts them in place of the rows that were there.

Its fence: what the lake knows of these partitions is what it was when they were computed, and whoever else writes the
model conflicts.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

from arrow_ingest.errors import ModelRefused, Replan
from arrow_ingest.lake.models import state
from arrow_ingest.lake.models.due import Computed
from arrow_ingest.lake.models.stage import StagedPartition
from arrow_ingest.lake.models.windows import bounds
from arrow_ingest.lake.new_rows import add_files
from arrow_ingest.lake.schema import Column, CreateTable, TableSchema, changes_between
from arrow_ingest.lake.session import Lake
from arrow_ingest.lake.sql import LAKE, change_table, in_lake, literal, quoted
from arrow_ingest.lake.sqltypes import arrow_type, fold, sql_text
from arrow_ingest.lake.table_partition import drop_rows
from arrow_ingest.lake.tables import read_table_schema
from arrow_ingest.lake.widening import merged
from arrow_ingest.model_settings import SqlModel
from arrow_ingest.values import Point, TouchedPartition


@dataclass(frozen=True, slots=True)
class PartitionsReplaced:
    """A `Change`: what one run of a model commits.

    Args:
        staged: the new rows.
        before: what the lake knew of the same partitions when they were computed.
        snapshot: of which they were computed.
    """

    commit_id: str
    model: SqlModel
    staged: tuple[StagedPartition, ...]
    before: Mapping[str, Computed]
    snapshot: int
    run_id: str

    @property
    def staged_at(self) -> datetime | None:
        """When the oldest of the files was begun."""
        return min((file.staged_at for part in self.staged for file in part.files), default=None)

    def write(self, lake: Lake, committed_at: datetime, at: Callable[[Point], None]) -> tuple[TouchedPartition, ...]:
        """Fence, columns, the old rows out, the new files in, and what they were computed from.

        Raises:
            Replan: another run has computed one of the partitions since.
            ModelRefused: the table's columns cannot take the new ones.
        """
        target = self.model.lake
        state.fence(lake, self.model.name)
        at(Point.FENCED)
        if state.read(lake, self.model.name, [part.value for part in self.staged]) != self.before:
            raise Replan(f"another run of model {self.model.name} was first")
        table, is_new = in_lake(target.schema_name, target.table), read_table_schema(lake, target) is None
        change_columns(lake, self.model, self.staged[-1].schema)
        for part in () if is_new else self.staged:
            drop_rows(lake, table, condition(self.model, part.value), part.value)
        files = [file for part in self.staged for file in part.files]
        add_files(lake, target.schema_name, target.table, files)
        at(Point.FILES_ADDED)
        computed = self.computed(committed_at)
        state.write(lake, self.model.name, computed)
        if state.commits(lake, self.model.name) >= state.ROTATE_AFTER:
            state.make_anew(lake, self.model.name)
        self._sign(lake)
        at(Point.LEDGER_WRITTEN)
        return tuple(TouchedPartition(row.value, row.rows, row.files, row.size_bytes) for row in computed)

    def computed(self, committed_at: datetime) -> tuple[Computed, ...]:
        """What the lake knows of the partitions afterwards."""
        return tuple(self._computed(part, committed_at) for part in self.staged)

    def _computed(self, part: StagedPartition, committed_at: datetime) -> Computed:
        return Computed(
            value=part.value,
            source_snapshot=self.snapshot,
            code_version=self.model.code_version,
            rows=part.rows,
            files=len(part.files),
            size_bytes=sum(file.size_bytes for file in part.files),
            commit_id=self.commit_id,
            run_id=self.run_id,
            computed_at=committed_at,
        )

    def _sign(self, lake: Lake) -> None:
        """Who and why, beside the snapshot."""
        name, values = self.model.name, [part.value for part in self.staged]
        shown = values[0] if len(values) == 1 else f"{values[0]} to {values[-1]}"
        extra = {"commit_id": self.commit_id, "run_id": self.run_id, "model": name, "source_snapshot": self.snapshot}
        text = f"model: {name}: {shown} of snapshot {self.snapshot}"
        lake.execute(
            f"CALL {LAKE}.set_commit_message(?, ?, extra_info => ?)", ["arrow_ingest", text, json.dumps(extra)]
        )


def condition(model: SqlModel, value: str) -> str:
    """What selects the rows of a table partition, whether its column is a date or an instant.

    As texts, which DuckDB casts to the column's type: no file is pruned where a date meets an instant (measured).
    """
    column = quoted(model.partition_by.column)
    limits = bounds(value, model.unit)
    start, stop = (literal(f"{at.isoformat()}" if model.unit == "hour" else at.date().isoformat()) for at in limits)
    return f"({column} >= {start} AND {column} < {stop})"


def change_columns(lake: Lake, model: SqlModel, schema: pa.Schema) -> None:
    """Make the table, or give it the columns that the query has, in the open transaction.

    Raises:
        ModelRefused: a column has another type, and neither holds all values of both.
    """
    target = model.lake
    base = read_table_schema(lake, target)
    wanted = planned_columns(model, base, [schema])
    changes = (CreateTable(wanted),) if base is None else changes_between(base, TableSchema(wanted))
    for change in changes:
        for text in change_table(in_lake(target.schema_name, target.table), change, model.partition_by):
            lake.execute(text)


def planned_columns(model: SqlModel, base: TableSchema | None, schemas: Sequence[pa.Schema]) -> tuple[Column, ...]:
    """The table's columns once it takes rows of these schemas: those that it has, in their order, and new ones.

    Raises:
        ModelRefused: as `change_columns`.
    """
    held = {} if base is None else {fold(column.name): column for column in base.columns}
    for schema in schemas:
        for field in schema:
            held[fold(field.name)] = _taking(
                model, held.get(fold(field.name)), Column(field.name, sql_text(field.type))
            )
    return tuple(held.values())


def _taking(model: SqlModel, held: Column | None, new: Column) -> Column:
    """The column that takes values of both types."""
    if held is None:
        return new
    old_type, new_type = arrow_type(held.sql_type), arrow_type(new.sql_type)
    both = None if old_type is None or new_type is None else merged(old_type, new_type)
    if both is None:
        raise ModelRefused(
            model.name,
            None,
            f"column {held.name} is {held.sql_type} in the table and {new.sql_type} in the query: cast it, or give the "
            "model another name and table",
        )
    return Column(held.name, sql_text(both))
