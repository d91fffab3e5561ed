"""A table in, its rows and files by table partition out: from the catalog's own statistics; no file is opened.

Independent of the ledger: this counts what DuckLake has registered, whoever registered it.
"""

from dataclasses import dataclass
from datetime import datetime

from arrow_ingest.config import LakeConfig
from arrow_ingest.lake import ledger, letter_events
from arrow_ingest.lake.dead_letters import dead_letter_table
from arrow_ingest.lake.session import Lake
from arrow_ingest.lake.sql import LAKE, in_lake
from arrow_ingest.lake.time_partitions import key_of_time
from arrow_ingest.lake.value_partitions import key_of_text
from arrow_ingest.table_shape import PartitionBy
from arrow_ingest.values import Reason

METADATA = f"__ducklake_metadata_{LAKE}"
"""The database under which DuckLake attaches its catalog."""

REFUSED = (Reason.SCHEMA_CONFLICT, Reason.SCHEMA_FROZEN)
"""Reason codes of messages that the schema policy refused."""

_FILES = f"""
SELECT f.data_file_id, f.record_count - coalesce(sum(d.delete_count), 0) AS remaining,
       f.file_size_bytes < $small AND count(d.data_file_id) = 0 AS is_small
FROM {METADATA}.ducklake_data_file f
JOIN {METADATA}.ducklake_table t USING (table_id)
JOIN {METADATA}.ducklake_schema s USING (schema_id)
LEFT JOIN {METADATA}.ducklake_delete_file d ON d.data_file_id = f.data_file_id
     AND d.begin_snapshot <= $snapshot AND coalesce(d.end_snapshot > $snapshot, true)
WHERE lower(s.schema_name) = lower($schema) AND lower(t.table_name) = lower($table)
  AND t.begin_snapshot <= $snapshot AND coalesce(t.end_snapshot > $snapshot, true)
  AND s.begin_snapshot <= $snapshot AND coalesce(s.end_snapshot > $snapshot, true)
  AND f.begin_snapshot <= $snapshot AND coalesce(f.end_snapshot > $snapshot, true)
GROUP BY f.data_file_id, f.record_count, f.file_size_bytes
"""

_COUNTS = "CAST(sum(remaining) AS BIGINT), count(*), count(*) FILTER (is_small)"

_BY_TIME = f"""
SELECT CASE WHEN year(CAST(least AS TIMESTAMPTZ)) BETWEEN 1 AND 9999 THEN
           date_trunc($unit, CAST(least AS TIMESTAMPTZ)) END AS start, {_COUNTS}
FROM ({_FILES}) LEFT JOIN (
    SELECT x.data_file_id, x.min_value AS least
    FROM {METADATA}.ducklake_file_column_stats x
    JOIN {METADATA}.ducklake_column c ON c.table_id = x.table_id AND c.column_id = x.column_id
    WHERE lower(c.column_name) = lower($column) AND c.parent_column IS NULL AND c.end_snapshot IS NULL
) USING (data_file_id)
GROUP BY ALL
"""


_BY_VALUE = f"""
SELECT p.partition_value, {_COUNTS}
FROM ({_FILES}) LEFT JOIN {METADATA}.ducklake_file_partition_value p USING (data_file_id)
GROUP BY ALL
"""


@dataclass(frozen=True, slots=True)
class PartitionFiles:
    """What the files of one table partition hold; ``small_files`` are those below a size, without deleted rows."""

    rows: int
    files: int
    small_files: int


def rows_by_partition(lake: Lake, table: LakeConfig, partition_by: PartitionBy | None) -> dict[str | None, int]:
    """Rows per table partition: see `files_by_partition`."""
    found = files_by_partition(lake, table, partition_by, small_below_bytes=0)
    return {value: files.rows for value, files in found.items()}


def files_by_partition(
    lake: Lake, table: LakeConfig, partition_by: PartitionBy | None, *, small_below_bytes: int
) -> dict[str | None, PartitionFiles]:
    """Rows and files per table partition, by its key, in the open transaction's snapshot; empty when there is no file.

    A file lies in one partition, so the least value of a time column tells which: none, or one outside of the years
    that have partitions, the NULL partition. The catalog's own partition values do not tell where there are several:
    added files carry one key index as often as there are transforms (DuckDB 1.5.5).
    Rows that somebody else let DuckLake inline are not in files and not counted; `verify` counts them.
    """
    [(snapshot,)] = lake.execute("SELECT id FROM ducklake_current_snapshot(?)", [LAKE])
    named = {"snapshot": snapshot, "schema": table.schema_name, "table": table.table, "small": small_below_bytes}
    if partition_by is None:
        [(rows, *counts)] = lake.execute(f"SELECT {_COUNTS} FROM ({_FILES})", named)
        return {} if rows is None else {None: PartitionFiles(rows, *counts)}
    if partition_by.unit == "value":
        by_text = lake.execute(_BY_VALUE, named)
        return {None if text is None else key_of_text(text): PartitionFiles(*counts) for text, *counts in by_text}
    named |= {"column": partition_by.column, "unit": partition_by.unit}
    by_start = lake.execute(_BY_TIME, named)
    return {
        None if start is None else key_of_time(start, partition_by.unit): PartitionFiles(*counts)
        for start, *counts in by_start
    }


def snapshot_times(lake: Lake) -> tuple[int, datetime, datetime]:
    """The newest snapshot's id and when it was made, and when the oldest one was that is kept."""
    [(newest, *times)] = lake.execute(
        "SELECT max(snapshot_id), max_by(CAST(snapshot_time AS TIMESTAMPTZ), snapshot_id), "
        f"min_by(CAST(snapshot_time AS TIMESTAMPTZ), snapshot_id) FROM {METADATA}.ducklake_snapshot"
    )
    return int(newest), times[0], times[1]


def refused_messages(lake: Lake, table: LakeConfig, since: int) -> int:
    """Dead letters after snapshot ``since`` that the schema policy refused."""
    [(count,)] = lake.execute(
        f"SELECT count(*) FROM {in_lake(table.schema_name, dead_letter_table(table.table))} "
        "WHERE snapshot_id > ? AND list_contains(?, reason)",
        [since, [reason.value for reason in REFUSED]],
    )
    return int(count)


def unresolved_letters(lake: Lake, pipeline: str, table: LakeConfig) -> dict[str, int]:
    """Dead letters that were neither replayed nor given up, by reason.

    The ledger and the events tell whether there are any; only then are the letters' files opened.
    """
    if ledger.dead_letters(lake, pipeline) <= letter_events.resolved_letters(lake, pipeline):
        return {}
    letters = in_lake(table.schema_name, dead_letter_table(table.table))
    found = lake.execute(
        f"SELECT reason, count(*) FROM {letters} l WHERE NOT EXISTS (SELECT 1 FROM ("
        f"{letter_events.spans_text(lake)}) became WHERE became.generation = l.generation "
        'AND became.part = l."partition" AND became.start <= l."offset" AND became.stop > l."offset") '
        "GROUP BY reason ORDER BY reason",
        {"pipeline": pipeline},
    )
    return dict(found)
