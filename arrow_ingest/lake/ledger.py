"""The ledger, ``arrow_ingest.commits``: one row per commit, appended in the commit's own transaction, never changed.

The virtual column ``snapshot_id`` of its inlined rows is exact, also after flush, merge and expiry (FACTS): it says
which snapshot a row came with.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from arrow_ingest.lake.schema import Column
from arrow_ingest.lake.session import Lake
from arrow_ingest.lake.sql import insert, own, select_columns
from arrow_ingest.values import CommitKind, OffsetRange, Tally, TouchedPartition

COMMITS = own("commits")
COMMIT_PARTITIONS = own("commit_partitions")

COLUMNS = (
    Column("commit_id", "VARCHAR"),
    Column("pipeline", "VARCHAR"),
    Column("lane", "INTEGER"),
    Column("generation", "INTEGER"),
    Column("topic_id", "VARCHAR"),
    Column("ranges", 'STRUCT("partition" INTEGER, "start" BIGINT, "stop" BIGINT)[]'),
    Column("messages", "BIGINT"),
    Column("rows", "BIGINT"),
    Column("empty", "BIGINT"),
    Column("dead", "BIGINT"),
    Column("nulled", "BIGINT"),
    Column("bytes_received", "BIGINT"),
    Column("bytes_copied", "BIGINT"),
    Column("bytes_cast", "BIGINT"),
    Column("table_partitions", 'STRUCT("value" VARCHAR, "rows" BIGINT, "files" INTEGER, "bytes" BIGINT)[]'),
    Column("kind", "VARCHAR"),
    Column("run_id", "VARCHAR"),
    Column("committed_at", "TIMESTAMP WITH TIME ZONE"),
)

PARTITIONS_VIEW = f"""
CREATE VIEW {COMMIT_PARTITIONS} AS
SELECT snapshot_id, commit_id, pipeline, lane, kind, added."value", added."rows", added.files, added.bytes
FROM (SELECT snapshot_id, commit_id, pipeline, lane, kind, unnest(table_partitions) AS added FROM {COMMITS})
"""
"""One row per commit and table partition that it touched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRow:
    """What one commit did, as it is written.

    Args:
        bytes_received: payload bytes as Kafka delivered them.
        bytes_copied: bytes copied between there and the Parquet writer, declared casts (``bytes_cast``) apart.
    """

    commit_id: str
    pipeline: str
    lane: int
    generation: int
    topic_id: str
    ranges: tuple[OffsetRange, ...]
    tally: Tally
    touched: tuple[TouchedPartition, ...]
    kind: CommitKind
    run_id: str
    committed_at: datetime
    bytes_received: int = 0
    bytes_copied: int = 0
    bytes_cast: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry(LedgerRow):
    """What one commit did, as it is read: with the snapshot that it made."""

    snapshot_id: int


@dataclass(frozen=True, slots=True)
class PartitionTotal:
    """What all commits together added to one table partition; ``last_snapshot`` is the newest that touched it."""

    rows: int
    files: int
    size_bytes: int
    last_snapshot: int


def append(lake: Lake, row: LedgerRow) -> None:
    """Append a row; the caller's transaction is open."""
    tally = row.tally
    ranges = [{"partition": part.partition, "start": part.start, "stop": part.stop} for part in row.ranges]
    touched = [
        {"value": added.value, "rows": added.rows, "files": added.files, "bytes": added.size_bytes}
        for added in row.touched
    ]
    lake.execute(
        insert(COMMITS, COLUMNS),
        (
            *(row.commit_id, row.pipeline, row.lane, row.generation, row.topic_id, ranges),
            *(tally.messages, tally.rows, tally.empty, tally.dead, tally.nulled),
            *(row.bytes_received, row.bytes_copied, row.bytes_cast),
            *(touched, row.kind.value, row.run_id, row.committed_at),
        ),
    )


def find(lake: Lake, commit_id: str) -> LedgerEntry | None:
    """The entry of one commit; None: it never landed."""
    return next(iter(_entries(lake, "commit_id = ?", [commit_id])), None)


def commits_since(lake: Lake, pipeline: str, snapshot_id: int) -> tuple[LedgerEntry, ...]:
    """A pipeline's commits after a snapshot, ascending; ``snapshot_id`` 0 gives all."""
    return _entries(lake, "pipeline = ? AND snapshot_id > ? ORDER BY snapshot_id", [pipeline, snapshot_id])


def last_commits(lake: Lake, pipeline: str, count: int) -> tuple[LedgerEntry, ...]:
    """A pipeline's newest commits, the newest first."""
    return _entries(lake, "pipeline = ? ORDER BY snapshot_id DESC LIMIT ?", [pipeline, count])


def partition_totals(
    lake: Lake, pipeline: str, values: Iterable[str | None] | None = None
) -> dict[str | None, PartitionTotal]:
    """Totals per table partition, by its key; None: the NULL partition, or a table without partitions.

    Args:
        values: the partitions in question; None: all. Those that no commit touched are left out.
    """
    wanted = None if values is None else set(values)
    rows = lake.execute(
        'SELECT "value", sum("rows")::BIGINT, sum(files)::BIGINT, sum(bytes)::BIGINT, max(snapshot_id) '
        f"FROM {COMMIT_PARTITIONS} WHERE pipeline = ? GROUP BY ALL",
        [pipeline],
    )
    return {value: PartitionTotal(*total) for value, *total in rows if wanted is None or value in wanted}


def _entries(lake: Lake, condition: str, parameters: list[object]) -> tuple[LedgerEntry, ...]:
    text = f"SELECT {select_columns(COLUMNS)}, snapshot_id FROM {COMMITS} WHERE {condition}"
    names = [*(column.name for column in COLUMNS), "snapshot_id"]
    return tuple(_entry(dict(zip(names, row, strict=True))) for row in lake.execute(text, parameters))


def _entry(row: dict[str, Any]) -> LedgerEntry:
    return LedgerEntry(
        commit_id=row["commit_id"],
        pipeline=row["pipeline"],
        lane=row["lane"],
        generation=row["generation"],
        topic_id=row["topic_id"],
        ranges=tuple(OffsetRange(**part) for part in row["ranges"]),
        tally=Tally(**{name: row[name] for name in ("messages", "rows", "empty", "dead", "nulled")}),
        touched=tuple(
            TouchedPartition(added["value"], added["rows"], added["files"], added["bytes"])
            for added in row["table_partitions"]
        ),
        kind=CommitKind(row["kind"]),
        run_id=row["run_id"],
        committed_at=row["committed_at"],
        bytes_received=row["bytes_received"],
        bytes_copied=row["bytes_copied"],
        bytes_cast=row["bytes_cast"],
        snapshot_id=row["snapshot_id"],
    )
