"""The ledger, ``arrow_ingest.commits``: one row per commit, appended in the commit's own transaction, never changed.

The virtual column ``snapshot_id`` of its inlined rows is exact, also after flush, merge and expiry (FACTS): it says
which snapshot a row came with.

Commits append to `COMMITS` only. Maintenance puts full tables aside and sums up old ones (`ledger_volumes`); whoever
reads, reads them all.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from arrow_ingest.lake.schema import Column
from arrow_ingest.lake.session import Lake
from arrow_ingest.lake.sql import LAKE, OWN_SCHEMA, insert, own, select_columns
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

LEDGER = own("ledger")
"""A view of all tables of the ledger, once there are several."""

SEVERAL_LANES = -1
"""The lane of an entry that sums up commits, which are of whatever lanes."""

PARTITIONS_OF = """
SELECT snapshot_id, commit_id, pipeline, lane, kind, added."value", added."rows", added.files, added.bytes
FROM (SELECT snapshot_id, commit_id, pipeline, lane, kind, unnest(table_partitions) AS added FROM {table})
"""

PARTITIONS_VIEW = f"CREATE VIEW {COMMIT_PARTITIONS} AS {PARTITIONS_OF.format(table=COMMITS)}"
"""One row per commit and table partition that it touched."""

_FIELDS = select_columns(COLUMNS)


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
    """What one commit did, as it is read: with the snapshot that it made.

    Args:
        commits: how many it sums up, where maintenance rolled the ledger up: then ``snapshot_id``, ``committed_at`` and
            ``run_id`` are the newest one's, ranges that join up are one, and ``lane`` is `SEVERAL_LANES`.
    """

    snapshot_id: int
    commits: int = 1


@dataclass(frozen=True, slots=True)
class PartitionTotal:
    """What all commits together added to one table partition; ``last_snapshot`` is the newest that touched it."""

    rows: int
    files: int
    size_bytes: int
    last_snapshot: int


def append(lake: Lake, row: LedgerRow) -> None:
    """Append a row; the caller's transaction is open."""
    touched: list[dict[str, object]] = [
        {"value": added.value, "rows": added.rows, "files": added.files, "bytes": added.size_bytes}
        for added in row.touched
    ]
    lake.execute(insert(COMMITS, COLUMNS), values_of(row, touched))


def values_of(row: LedgerRow, touched: list[dict[str, object]]) -> tuple[object, ...]:
    """A row's values in the order of `COLUMNS`.

    Args:
        touched: ``row.touched`` as the column ``table_partitions`` of the table has it.
    """
    tally = row.tally
    ranges = [{"partition": part.partition, "start": part.start, "stop": part.stop} for part in row.ranges]
    return (
        *(row.commit_id, row.pipeline, row.lane, row.generation, row.topic_id, ranges),
        *(tally.messages, tally.rows, tally.empty, tally.dead, tally.nulled),
        *(row.bytes_received, row.bytes_copied, row.bytes_cast),
        *(touched, row.kind.value, row.run_id, row.committed_at),
    )


def find(lake: Lake, commit_id: str) -> LedgerEntry | None:
    """The entry of one commit; None: it never landed, or so long ago that it was rolled up."""
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


def read_table(lake: Lake, table: str) -> tuple[LedgerEntry, ...]:
    """All entries of one table of the ledger, of whatever pipeline, ascending."""
    return _read(lake, f"SELECT {_FIELDS}, snapshot_id, 1 FROM {table} ORDER BY snapshot_id")


def dead_letters(lake: Lake, pipeline: str) -> int:
    """How many messages of a pipeline ever became dead letters, whatever became of them since."""
    table = LEDGER if _has_volumes(lake) else COMMITS
    [(count,)] = lake.execute(f"SELECT coalesce(sum(dead), 0)::BIGINT FROM {table} WHERE pipeline = ?", [pipeline])
    return int(count)


def _has_volumes(lake: Lake) -> bool:
    return bool(
        lake.execute(
            "SELECT 1 FROM duckdb_views() WHERE database_name = ? AND schema_name = ? AND view_name = 'ledger'",
            [LAKE, OWN_SCHEMA],
        )
    )


def _entries(lake: Lake, condition: str, parameters: list[object]) -> tuple[LedgerEntry, ...]:
    source = f"commits FROM {LEDGER}" if _has_volumes(lake) else f"1 FROM {COMMITS}"
    return _read(lake, f"SELECT {_FIELDS}, snapshot_id, {source} WHERE {condition}", parameters)


def _read(lake: Lake, text: str, parameters: Sequence[object] = ()) -> tuple[LedgerEntry, ...]:
    names = [*(column.name for column in COLUMNS), "snapshot_id", "commits"]
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
        commits=row["commits"],
    )
