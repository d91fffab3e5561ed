"""One table partition as a whole: which of its rows are not to be read again, and its files replaced by others.

Rows are deleted file by file, all of a file's: DuckLake then drops the file and writes no delete file, so that the
transaction makes nothing which a rollback after a lost COMMIT answer could take away (pinned in `test_lake_facts`).
File by file, since a DELETE keeps some 40 bytes in memory for each row that it has found (measured, DuckDB 1.5.5).
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

from arrow_ingest.config import PipelineConfig
from arrow_ingest.errors import RebuildRefused
from arrow_ingest.lake.schema import TablePlan
from arrow_ingest.lake.session import Lake
from arrow_ingest.lake.sql import in_lake, in_partition, quoted
from arrow_ingest.lake.sqltypes import fold
from arrow_ingest.lake.statistics import METADATA

BATCH_ROWS = 100_000

_PRESENT = (
    "coalesce((_kafka_partition, _kafka_generation) IN (SELECT (unnest($partitions), unnest($generations))), false)"
)

_INSERTED = """
WITH messages AS (
    SELECT _kafka_partition AS part, _kafka_offset AS place, min(_inserted_at) AS inserted
    FROM {table} WHERE {condition} AND {present} GROUP BY ALL
), marked AS (
    SELECT *, inserted IS DISTINCT FROM lag(inserted) OVER (PARTITION BY part ORDER BY place) AS is_first FROM messages
)
SELECT part, place, inserted FROM marked WHERE is_first ORDER BY part, place
"""
"""One row per stretch of messages that were inserted at the same time: about one per commit and Kafka partition."""

_CHANGES = f"""
SELECT c.snapshot_id, c.changes_made FROM {METADATA}.ducklake_snapshot_changes c WHERE c.snapshot_id > $snapshot
"""

_TABLE_ID = f"""
SELECT t.table_id FROM {METADATA}.ducklake_table t JOIN {METADATA}.ducklake_schema s USING (schema_id)
WHERE lower(s.schema_name) = lower($schema) AND lower(t.table_name) = lower($table)
  AND t.end_snapshot IS NULL AND s.end_snapshot IS NULL
"""


@dataclass(frozen=True, slots=True)
class TablePartition:
    """A table partition of a pipeline's table, by its key; None: the whole of a table without partitions."""

    config: PipelineConfig
    key: str | None

    @property
    def table(self) -> str:
        """The table as SQL names it."""
        return in_lake(self.config.lake.schema_name, self.config.lake.table)

    @property
    def condition(self) -> str:
        """What selects its rows."""
        by = self.config.partition_by
        if by is None or self.key is None:
            assert by is None, "the NULL partition has no key, and is never taken as a whole"
            return "true"
        return f"({in_partition(by, self.key)})"

    def insertion_times(self, lake: Lake, plan: TablePlan, generations: Mapping[int, int]) -> "InsertionTimes":
        """When the rows of the present generations were inserted, so that a rebuild gives them that time again."""
        if plan.base is None or "_inserted_at" not in {fold(column.name) for column in plan.base.columns}:
            return InsertionTimes({})
        text = _INSERTED.format(table=self.table, condition=self.condition, present=_PRESENT)
        found: dict[int, list[tuple[int, datetime]]] = {}
        for partition, offset, at in lake.execute(text, _named(generations)):
            found.setdefault(partition, []).append((offset, at))
        return InsertionTimes(found)

    def other_rows(self, lake: Lake, plan: TablePlan, generations: Mapping[int, int]) -> Iterator[pa.RecordBatch]:
        """The rows that are not of the present generations, as ``plan.target`` has them.

        Raises:
            RebuildRefused: there are some, and the table has columns that staged files cannot hold.
        """
        condition = f"{self.condition} AND NOT {_PRESENT}"
        named = _named(generations)
        if not lake.execute(f"SELECT 1 FROM {self.table} WHERE {condition} LIMIT 1", named):
            return
        if plan.base is not None and len(plan.base.columns) > len(plan.target):
            raise RebuildRefused(
                self.key,
                "it holds rows that are not of this generation, and the table has columns of types that only DuckDB "
                "writes: such rows cannot be taken along",
            )
        names = ", ".join(quoted(name) for name in plan.target.names)
        for batch in lake.reader(f"SELECT {names} FROM {self.table} WHERE {condition}", named, BATCH_ROWS):
            yield pa.Table.from_batches([batch]).cast(plan.target).combine_chunks().to_batches()[0]

    def drop(self, lake: Lake) -> None:
        """Delete all rows in the open transaction, in whole files.

        Raises:
            RebuildRefused: a file holds rows of other table partitions as well.
        """
        drop_rows(lake, self.table, self.condition, self.key)


@dataclass(frozen=True, slots=True)
class InsertionTimes:
    """Per Kafka partition, the first offset of each stretch of messages that were inserted at the same time."""

    stretches: Mapping[int, list[tuple[int, datetime]]]

    def at(self, partition: int, offset: int, otherwise: datetime) -> datetime:
        """When a message's rows were inserted.

        >>> from datetime import UTC
        >>> morning, noon = datetime(2026, 3, 1, 8, tzinfo=UTC), datetime(2026, 3, 1, 12, tzinfo=UTC)
        >>> InsertionTimes({0: [(5, morning), (9, noon)]}).at(0, 8, noon).hour
        8
        """
        stretches = self.stretches.get(partition, [])
        index = bisect_right(stretches, offset, key=lambda stretch: stretch[0])
        return stretches[index - 1][1] if index else otherwise


def is_changed_since(lake: Lake, config: PipelineConfig, snapshot: int) -> bool:
    """Whether any later snapshot touched the table: rows, columns or files, by whomever."""
    named = {"schema": config.lake.schema_name, "table": config.lake.table}
    tables = {str(number) for (number,) in lake.execute(_TABLE_ID, named)}
    changes = lake.execute(_CHANGES, {"snapshot": snapshot})
    return any(_touches(made, tables) for _, made in changes)


def foreign_changes(lake: Lake, config: PipelineConfig, since: int) -> tuple[int, ...]:
    """Snapshots after ``since`` in which somebody else changed the table, of those that have not expired, ascending."""
    named = {"schema": config.lake.schema_name, "table": config.lake.table}
    tables = {str(number) for (number,) in lake.execute(_TABLE_ID, named)}
    changes = lake.execute(f"{_CHANGES} AND c.author IS DISTINCT FROM 'arrow_ingest' ORDER BY 1", {"snapshot": since})
    return tuple(number for number, made in changes if _touches(made, tables))


def _touches(made: str | None, tables: set[str]) -> bool:
    return any(change.rpartition(":")[2] in tables for change in (made or "").split(","))


def drop_rows(lake: Lake, table: str, condition: str, key: str | None) -> None:
    """Delete the rows that a condition selects in the open transaction, in whole files.

    Args:
        key: of the table partition that they are.

    Raises:
        RebuildRefused: a file holds other rows as well.
    """
    if "filename" not in _columns(lake, table):
        for file in _whole_files(lake, table, condition, key):
            lake.execute(f"DELETE FROM {table} WHERE filename = ?", [file])
    lake.execute(f"DELETE FROM {table} WHERE {condition}")  # what others let the catalog inline, if any


def _whole_files(lake: Lake, table: str, condition: str, key: str | None) -> list[str]:
    held = f"SELECT DISTINCT filename FROM {table} WHERE {condition} AND filename IS NOT NULL"
    files = [file for (file,) in lake.execute(held)]
    astray = f"SELECT 1 FROM {table} WHERE list_contains(?, filename) AND ({condition}) IS NOT TRUE LIMIT 1"
    if files and lake.execute(astray, [files]):
        raise RebuildRefused(key, "one of its files holds rows of other table partitions as well")
    return files


def _columns(lake: Lake, table: str) -> set[str]:
    return {fold(name) for name, *_ in lake.execute(f"DESCRIBE {table}")}


def _named(generations: Mapping[int, int]) -> dict[str, object]:
    return {"partitions": list(generations), "generations": list(generations.values())}
