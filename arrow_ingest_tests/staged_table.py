"""A table in a real DuckLake, fed by the lake room's own parts without Kafka and without the ledger."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from arrow_ingest.config import PipelineConfig
from arrow_ingest.lake.conform import Stamp, conform
from arrow_ingest.lake.partition import split
from arrow_ingest.lake.schema import Column, TablePlan, TableSchema, plan_for
from arrow_ingest.lake.session import Lake, open_lake
from arrow_ingest.lake.sql import change_table, in_lake, quoted
from arrow_ingest.lake.staging import Stager
from arrow_ingest.values import Rejection, StagedFile

INSERTED_AT = datetime(2026, 11, 4, 12, 0, tzinfo=UTC)
_numbers = itertools.count()
Outcome = TypeVar("Outcome")


def pipeline(folder: Path, table: str = "events", *, catalog: str | None = None, **settings: Any) -> PipelineConfig:
    """A pipeline over a lake in ``folder``; ``settings`` replace top-level keys.

    Args:
        catalog: its address; None: a SQLite file in ``folder``.
    """
    lake = {"catalog": catalog or str(folder / "catalog.sqlite"), "data_path": str(folder / "data"), "table": table}
    attributes: dict[str, Any] = {
        "name": "events",
        "kafka": {"topic": "events", "bootstrap_servers": "nowhere:1"},
        "lake": lake,
    }
    return PipelineConfig.model_validate(attributes | settings)


def by_day(**settings: Any) -> dict[str, Any]:
    """Settings of a table that is partitioned by the UTC day of column ``ts``."""
    return {"columns": {"ts": "timestamptz"}, "partition_by": {"column": "ts", "start": "2026-01-01"}} | settings


def stamp(offset: int = 0, timestamp_ms: int | None = 1_793_757_600_000) -> Stamp:
    return Stamp(generation=0, partition=0, offset=offset, timestamp_ms=timestamp_ms, inserted_at=INSERTED_AT)


class StagedTable:
    """One table; its name is new for each object, so that many share a lake."""

    def __init__(self, lake: Lake, folder: Path, *, catalog: str | None = None, **settings: Any) -> None:
        self.config = pipeline(folder, f"t{next(_numbers)}", catalog=catalog, **settings)
        self.lake = lake
        self.name = in_lake("main", self.config.lake.table)
        self._offsets = itertools.count()

    def schema(self) -> TableSchema | None:
        """The columns as the catalog shows them."""
        found = self.lake.execute(
            "SELECT column_name, data_type FROM duckdb_columns() "
            "WHERE database_name = 'lake' AND table_name = ? ORDER BY column_index",
            [self.config.lake.table],
        )
        return TableSchema(tuple(Column(name, kind) for name, kind in found)) if found else None

    def ingest(self, *messages: pa.Table, lane: int = 0) -> tuple[StagedFile, ...]:
        """Stage messages of one or more batches as one micro-batch, and commit it with its schema changes."""
        with ThreadPoolExecutor(2) as pool:
            commit_id = f"c{next(_numbers)}"
            stager = Stager(self.config.lake, self.config.parquet, pool=pool, commit_id=commit_id, lane=lane)
            plan = plan_for(self.config, self.schema())
            for message in messages:
                plan = self._append(stager, plan, message)
            files = stager.close()
        with self.lake.transaction():
            self.change(plan)
            self.add(files)
        return files

    def change(self, plan: TablePlan) -> None:
        """Bring the table's columns to the plan; a transaction is open."""
        for change in plan.changes:
            for text in change_table(self.name, change, self.config.partition_by):
                self.lake.execute(text)

    def add(self, files: Iterable[StagedFile]) -> None:
        """Add staged files to the table."""
        if paths := [file.path for file in files]:
            self.lake.execute(
                "CALL ducklake_add_data_files('lake', ?, ?, schema => 'main', allow_missing => true)",
                [self.config.lake.table, paths],
            )

    def rows(self, *columns: str) -> pa.Table:
        """The table's rows in the order of the log."""
        selected = ", ".join(map(quoted, columns)) if columns else "*"
        return self.lake.arrow(f"SELECT {selected} FROM {self.name} ORDER BY _kafka_offset, _kafka_row")

    def _append(self, stager: Stager, plan: TablePlan, message: pa.Table) -> TablePlan:
        offset, first_row = next(self._offsets), 0
        extended = accepted(plan.extend(message.schema))
        conformed: list[pa.RecordBatch] = []
        for batch in message.to_batches():
            conformed.append(accepted(conform(batch, extended, stamp(offset), first_row=first_row)).batch)
            first_row += batch.num_rows
        for piece in accepted(split(conformed, self.config.partition_by, self.config.limits)).slices:
            stager.append(piece, source=(0, offset))
        return extended


def accepted(outcome: Outcome | Rejection) -> Outcome:
    """The outcome, which must not be a rejection."""
    assert not isinstance(outcome, Rejection), outcome
    return outcome


@contextmanager
def tables_of(folder: Path, catalog: str | None = None) -> Iterator[Callable[..., StagedTable]]:
    """A lake below ``folder`` and what makes tables in it: ``make(**settings)``."""
    with open_lake(pipeline(folder, catalog=catalog).lake) as lake:
        yield lambda **settings: StagedTable(lake, folder, catalog=catalog, **settings)
