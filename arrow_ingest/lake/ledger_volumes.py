"""The ledger's tables: the one that commits append to, full ones put aside, and the sums of old ones.

Rows are never copied out of a table that lanes append to. The full table is renamed (``commits_<snapshot>``) and an
empty one takes its name: a commit that was under way lands in either, or is tried again (facts pinned by a test), and
the exact ``snapshot_id`` of each row stays. Once all of its rows are old, a table that was put aside is dropped in the
transaction that writes their sums into ``commits_rolled``. That also ends the dead versions of inlined rows, which
expiry alone never removes (FACTS).
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from arrow_ingest.lake import late_rows, ledger, tables
from arrow_ingest.lake.ledger import COLUMNS, COMMIT_PARTITIONS, COMMITS, LEDGER, SEVERAL_LANES, LedgerEntry
from arrow_ingest.lake.own_tables import has_own
from arrow_ingest.lake.schema import Column
from arrow_ingest.lake.session import Lake
from arrow_ingest.lake.sql import LAKE, OWN_SCHEMA, create_table, insert, own, quoted, select_columns
from arrow_ingest.values import CommitKind, OffsetRange, Tally, TouchedPartition

ROLLED = own("commits_rolled")

_PARTITIONS = 'STRUCT("value" VARCHAR, "rows" BIGINT, "files" INTEGER, "bytes" BIGINT, "snapshot" BIGINT)[]'

ROLLED_COLUMNS = (
    *(Column(column.name, _PARTITIONS) if column.name == "table_partitions" else column for column in COLUMNS),
    Column("commits", "BIGINT"),
    Column("first_snapshot", "BIGINT"),
    Column("last_snapshot", "BIGINT"),
)
"""As `COLUMNS`, with the newest snapshot of each table partition, and the snapshots that the row sums up.

They stand in columns: the virtual ``snapshot_id`` of these rows is that of the roll-up.
"""

_VOLUME = re.compile(r"commits_(\d+)")


@dataclass(frozen=True, slots=True)
class Rolled:
    """Commits summed up.

    Args:
        entry: their sum.
        first_snapshot: the oldest one's; ``entry.snapshot_id`` is the newest one's.
        snapshots: per table partition that they touched, the newest snapshot that did.
    """

    entry: LedgerEntry
    first_snapshot: int
    snapshots: dict[str | None, int]


def volumes(lake: Lake) -> tuple[str, ...]:
    """The names of the tables that were put aside, the oldest first."""
    names = filter(_VOLUME.fullmatch, lake.names_in(OWN_SCHEMA))
    return tuple(sorted(names, key=lambda name: int(name.rpartition("_")[2])))


def has_sums(lake: Lake) -> bool:
    """Whether the table of sums is there, empty or not."""
    return has_own(lake, "commits_rolled")


def put_aside(lake: Lake) -> str:
    """Give the commits from now on an empty table; the name of the full one, which says up to which snapshot it goes.

    The caller's transaction is open. An arrow_ingest that knows one table only refuses the lake from here on.
    """
    [(snapshot,)] = lake.execute("SELECT id FROM ducklake_current_snapshot(?)", [LAKE])
    volume = f"commits_{snapshot}"
    lake.execute(f"ALTER TABLE {COMMITS} RENAME TO {quoted(volume)}")
    lake.execute(create_table(COMMITS, COLUMNS))
    if not has_sums(lake):
        lake.execute(create_table(ROLLED, ROLLED_COLUMNS))
    late_rows.put_aside(lake)
    tables.raise_layout_version(lake)
    _replace_views(lake, volumes(lake))
    return volume


def roll_up(lake: Lake, volume: str) -> tuple[Rolled, ...]:
    """Sum up a table that was put aside and drop it; the caller's transaction is open."""
    rolled = tuple(rolled_up(ledger.read_table(lake, own(volume))))
    for row in rolled:
        lake.execute(insert(ROLLED, ROLLED_COLUMNS), _values(row))
    left = tuple(name for name in volumes(lake) if name != volume)
    _replace_views(lake, left)
    lake.execute(f"DROP TABLE {own(volume)}")
    return rolled


def rolled_up(entries: Iterable[LedgerEntry]) -> Iterator[Rolled]:
    """Sums of the commits of each pipeline between two rows of another kind, per generation; those rows as they are.

    A gap that an operator accepted lies between two sums, so that in the order of snapshots ranges join up as they did;
    ranges of one sum are put together only where they join up, so that a gap nobody accepted is still seen.
    """
    by_pipeline: dict[str, list[LedgerEntry]] = {}
    for entry in entries:
        by_pipeline.setdefault(entry.pipeline, []).append(entry)
    for _, mine in sorted(by_pipeline.items()):
        mine.sort(key=lambda entry: entry.snapshot_id)
        for is_summed, run in groupby(mine, key=lambda entry: entry.kind is CommitKind.INGEST):
            if is_summed:
                yield from _sums(tuple(run))
            else:
                yield from (summed((entry,)) for entry in run)


def summed(entries: Sequence[LedgerEntry]) -> Rolled:
    """One row of several of one pipeline, generation, topic and kind, ascending by snapshot.

    >>> from datetime import UTC, datetime
    >>> row = LedgerEntry(commit_id="a", pipeline="p", lane=0, generation=0, topic_id="t",
    ...     ranges=(OffsetRange(0, 0, 5),), tally=Tally(5, 9), touched=(TouchedPartition("2026-11-04", 9, 1, 70),),
    ...     kind=CommitKind.INGEST, run_id="r", committed_at=datetime(2026, 11, 4, tzinfo=UTC), snapshot_id=7)
    >>> both = summed((row, replace(row, ranges=(OffsetRange(0, 5, 8),), snapshot_id=9)))
    >>> both.entry.ranges, both.entry.tally.rows, both.entry.commits, both.snapshots
    ((OffsetRange(partition=0, start=0, stop=8),), 18, 2, {'2026-11-04': 9})
    """
    newest, lanes = entries[-1], {entry.lane for entry in entries}
    touched: dict[str | None, TouchedPartition] = {}
    snapshots: dict[str | None, int] = {}
    for entry in entries:
        for part in entry.touched:
            known = touched.get(part.value, TouchedPartition(part.value, 0, 0, 0))
            touched[part.value] = TouchedPartition(
                part.value, known.rows + part.rows, known.files + part.files, known.size_bytes + part.size_bytes
            )
            snapshots[part.value] = entry.snapshot_id
    ordered = tuple(touched[value] for value in sorted(touched, key=lambda value: (value is None, value or "")))
    entry = replace(
        newest,
        lane=lanes.pop() if len(lanes) == 1 else SEVERAL_LANES,
        ranges=joined(part for entry in entries for part in entry.ranges),
        tally=sum((entry.tally for entry in entries), Tally()),
        touched=ordered,
        commits=sum(entry.commits for entry in entries),
        bytes_received=sum(entry.bytes_received for entry in entries),
        bytes_copied=sum(entry.bytes_copied for entry in entries),
        bytes_cast=sum(entry.bytes_cast for entry in entries),
    )
    return Rolled(entry, entries[0].snapshot_id, snapshots)


def joined(ranges: Iterable[OffsetRange]) -> tuple[OffsetRange, ...]:
    """The ranges, ascending; those that join up are one. Gaps and overlaps stay what they are.

    >>> joined([OffsetRange(0, 5, 8), OffsetRange(0, 0, 5), OffsetRange(0, 9, 10), OffsetRange(1, 8, 9)])
    (OffsetRange(partition=0, start=0, stop=8), OffsetRange(partition=0, start=9, stop=10), \
OffsetRange(partition=1, start=8, stop=9))
    """
    found: list[OffsetRange] = []
    for part in sorted(ranges):
        if found and (found[-1].partition, found[-1].stop) == (part.partition, part.start):
            found[-1] = OffsetRange(part.partition, found[-1].start, part.stop)
        else:
            found.append(part)
    return tuple(found)


def _sums(entries: Sequence[LedgerEntry]) -> Iterator[Rolled]:
    logs: dict[tuple[int, str], list[LedgerEntry]] = {}
    for entry in entries:
        logs.setdefault((entry.generation, entry.topic_id), []).append(entry)
    yield from (summed(log) for log in logs.values())


def _values(row: Rolled) -> tuple[object, ...]:
    touched: list[dict[str, object]] = [
        {
            "value": part.value,
            "rows": part.rows,
            "files": part.files,
            "bytes": part.size_bytes,
            "snapshot": row.snapshots[part.value],
        }
        for part in row.entry.touched
    ]
    entry = row.entry
    return (*ledger.values_of(entry, touched), entry.commits, row.first_snapshot, entry.snapshot_id)


def _replace_views(lake: Lake, put_aside_names: Sequence[str]) -> None:
    """Let the views show all tables of the ledger."""
    fields = select_columns(COLUMNS)
    plain = [COMMITS, *(own(name) for name in put_aside_names)]
    rolled = ", ".join(
        f"list_transform(table_partitions, p -> {_WITHOUT_SNAPSHOT}) AS table_partitions"
        if column.name == "table_partitions"
        else quoted(column.name)
        for column in COLUMNS
    )
    texts = [f"SELECT {fields}, snapshot_id, CAST(1 AS BIGINT) AS commits FROM {table}" for table in plain]
    texts.append(f"SELECT {rolled}, last_snapshot AS snapshot_id, commits FROM {ROLLED}")
    lake.execute(f"CREATE OR REPLACE VIEW {LEDGER} AS {' UNION ALL '.join(texts)}")
    parts = [ledger.PARTITIONS_OF.format(table=table) for table in plain]
    parts.append(_ROLLED_PARTITIONS)
    lake.execute(f"CREATE OR REPLACE VIEW {COMMIT_PARTITIONS} AS {' UNION ALL '.join(parts)}")


_WITHOUT_SNAPSHOT = '{"value": p."value", "rows": p."rows", "files": p.files, "bytes": p.bytes}'

_ROLLED_PARTITIONS = f"""
SELECT added."snapshot" AS snapshot_id, commit_id, pipeline, lane, kind, added."value", added."rows", added.files,
       added.bytes
FROM (SELECT commit_id, pipeline, lane, kind, unnest(table_partitions) AS added FROM {ROLLED})
"""
