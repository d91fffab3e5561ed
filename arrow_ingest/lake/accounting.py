"""The ledger's commits in, findings out: does the table hold what they say, each row once?

Rows are matched to commits by what names them for ever: generation, partition, offset, row. Compaction, sorting and
rewriting of files change nothing of that. Only these columns are read, a window of commits at a time; a commit that is
larger than a window, as the sum of a rolled-up ledger is, is looked at piece by piece.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from arrow_ingest.config import LakeConfig
from arrow_ingest.errors import CatalogUnavailable, StatementRefused
from arrow_ingest.lake import removals
from arrow_ingest.lake.dead_letters import dead_letter_table
from arrow_ingest.lake.findings import Code, Finding
from arrow_ingest.lake.ledger import LedgerEntry
from arrow_ingest.lake.removals import Removal, RemovedRows
from arrow_ingest.lake.session import Lake
from arrow_ingest.lake.sql import LAKE, in_lake
from arrow_ingest.values import OffsetRange

WINDOW_ROWS = 5_000_000
"""Rows that are counted at once: their identities and groups fit into the session's memory."""

_RANGES = """ranges AS (
    SELECT unnest($commits) AS commit, unnest($generations) AS generation, unnest($partitions) AS part,
           unnest($starts) AS start, unnest($stops) AS stop
)"""

_MESSAGES = """
WITH {ranges}, messages AS (
    SELECT _kafka_generation AS generation, _kafka_partition AS part, _kafka_offset AS position, count(*) AS all_rows,
           count(DISTINCT _kafka_row) AS own_rows, min(_kafka_row) AS first, max(_kafka_row) AS last
    FROM {table} WHERE _kafka_offset >= $first AND _kafka_offset < $stop GROUP BY ALL
), dead AS (
    SELECT DISTINCT generation, "partition" AS part, "offset" AS position
    FROM {letters} WHERE "offset" >= $first AND "offset" < $stop
)
SELECT commit, count(*), sum(own_rows)::BIGINT, sum(all_rows - own_rows)::BIGINT,
       count(*) FILTER (first <> 0 OR last + 1 <> own_rows), count(dead.position)
FROM messages JOIN ranges USING (generation, part) LEFT JOIN dead USING (generation, part, position)
WHERE messages.position >= ranges.start AND messages.position < ranges.stop
GROUP BY commit
"""

_LETTERS = """
WITH {ranges}
SELECT commit, count(*), count(DISTINCT (l."partition", l."offset"))
FROM {letters} l JOIN ranges r ON l.generation = r.generation AND l."partition" = r.part
WHERE l."offset" >= r.start AND l."offset" < r.stop
GROUP BY commit
"""

_DELETED = """
WITH {ranges}, gone AS (
    SELECT min(snapshot_id) AS snapshot_id, _kafka_generation AS generation, _kafka_partition AS part,
           _kafka_offset AS position, _kafka_row AS row_number
    FROM ducklake_table_deletions('{lake}', $schema, $table, $oldest, $newest) GROUP BY ALL
)
SELECT generation, part, ranges.start, ranges.stop, gone.snapshot_id, count(*)
FROM gone JOIN ranges USING (generation, part)
WHERE gone.position >= ranges.start AND gone.position < ranges.stop AND NOT EXISTS (
    SELECT 1 FROM {table} t WHERE t._kafka_generation = gone.generation AND t._kafka_partition = gone.part
    AND t._kafka_offset = gone.position AND t._kafka_row = gone.row_number)
GROUP BY ALL
"""

_FOREIGN = """
WITH {ranges}
SELECT snapshot_id, count(*) FROM {table} t WHERE NOT EXISTS (
    SELECT 1 FROM ranges r WHERE r.generation = t._kafka_generation AND r.part = t._kafka_partition
    AND t._kafka_offset >= r.start AND t._kafka_offset < r.stop)
GROUP BY snapshot_id ORDER BY snapshot_id
"""


@dataclass(frozen=True, slots=True)
class Found:
    """What the table holds of one commit.

    Args:
        messages: offsets that have rows.
        rows: distinct rows; ``duplicates`` come on top.
        misnumbered: messages whose rows are not numbered 0, 1, … without a gap.
        dead_and_alive: messages that have rows and a dead letter.
        dead: distinct messages with a dead letter; ``dead_duplicates`` come on top.
    """

    messages: int = 0
    rows: int = 0
    duplicates: int = 0
    misnumbered: int = 0
    dead_and_alive: int = 0
    dead: int = 0
    dead_duplicates: int = 0

    def __add__(self, other: "Found") -> "Found":
        return Found(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))


@dataclass(frozen=True, slots=True)
class Piece:
    """Offsets of a commit, by its index; ``rows`` is about how many rows and letters they have."""

    commit: int
    generation: int
    ranges: tuple[OffsetRange, ...]
    rows: int
    is_last: bool


def check_rows(
    lake: Lake,
    table: LakeConfig,
    commits: Sequence[LedgerEntry],
    *,
    has_table: bool,
    window_rows: int = WINDOW_ROWS,
) -> Iterator[Finding]:
    """Compare commits with the table and its dead letters, about ``window_rows`` rows at a time."""
    short: list[tuple[LedgerEntry, int]] = []
    seen: dict[int, Found] = {}
    checked = 0
    for window in windows(commits, window_rows):
        for index, found in _found(lake, table, window, has_table=has_table).items():
            seen[index] = seen.get(index, Found()) + found
        done = window[-1].commit + window[-1].is_last
        for index in range(checked, done):
            commit, here = commits[index], seen.pop(index, Found())
            yield from check_commit(commit, here)
            if here.rows < commit.tally.rows:
                short.append((commit, commit.tally.rows - here.rows))
        checked = done
    if short:
        yield from _explain(lake, table, short, has_table=has_table)


def check_foreign_rows(lake: Lake, table: LakeConfig, commits: Sequence[LedgerEntry]) -> Iterator[Finding]:
    """Rows that lie in no commit of the ledger: somebody else added them."""
    text = _FOREIGN.format(ranges=_RANGES, table=in_lake(table.schema_name, table.table))
    whole = [Piece(index, commit.generation, commit.ranges, 0, is_last=True) for index, commit in enumerate(commits)]
    foreign = dict(lake.execute(text, _ranges_of(whole)))
    for snapshot, rows in foreign.items():
        yield Finding(Code.ROWS_ADDED, f"{rows} rows of no commit came with {_snapshots(lake, [snapshot])}")


def windows(commits: Sequence[LedgerEntry], most_rows: int) -> Iterator[list[Piece]]:
    """Commits in their order, in lists of about ``most_rows`` rows and letters at most, or of one message."""
    window: list[Piece] = []
    size = 0
    for index, commit in enumerate(commits):
        for piece in pieces(index, commit, most_rows):
            if window and size + piece.rows > most_rows:
                yield window
                window, size = [], 0
            window.append(piece)
            size += piece.rows
    if window:
        yield window


def pieces(index: int, commit: LedgerEntry, most_rows: int) -> Iterator[Piece]:
    """A commit's offsets in as many pieces as hold about ``most_rows`` of its rows each; at least one piece."""
    size = commit.tally.rows + commit.tally.dead
    longest = max((part.count for part in commit.ranges), default=1)
    parts = max(1, min(-(-size // max(1, most_rows)), longest))
    for number in range(parts):
        cut = (
            OffsetRange(
                part.partition,
                part.start + part.count * number // parts,
                part.start + part.count * (number + 1) // parts,
            )
            for part in commit.ranges
        )
        ranges = tuple(part for part in cut if part.count)
        yield Piece(index, commit.generation, ranges, -(-size // parts), is_last=number == parts - 1)


def check_commit(commit: LedgerEntry, found: Found) -> Iterator[Finding]:
    """Compare one commit's tally with what was found; rows that are missing are left to be explained."""
    tally, where = commit.tally, f"commit {commit.commit_id} (snapshot {commit.snapshot_id})"
    offsets = sum(part.count for part in commit.ranges)
    if tally.messages > offsets:
        yield Finding(Code.MESSAGES_MISCOUNTED, f"{where}: {tally.messages} messages in {offsets} offsets")
    if found.duplicates:
        yield Finding(Code.DUPLICATE_ROWS, f"{where}: {found.duplicates} rows are there twice")
    if found.dead_and_alive:
        yield Finding(Code.DEAD_AND_ALIVE, f"{where}: {found.dead_and_alive} messages have rows and a dead letter")
    if (found.dead, found.dead_duplicates) != (tally.dead, 0):
        seen = f"{found.dead} dead letters and {found.dead_duplicates} duplicates"
        yield Finding(Code.DEAD_LETTERS_MISCOUNTED, f"{where}: {seen}, the ledger says {tally.dead}")
    if found.rows > tally.rows:
        yield Finding(Code.ROWS_UNEXPECTED, f"{where}: {found.rows} rows, the ledger says {tally.rows}")
    if found.rows == tally.rows:
        if found.messages + tally.empty + tally.dead != tally.messages:
            seen = f"{found.messages} with rows + {tally.empty} empty + {tally.dead} dead"
            yield Finding(Code.MESSAGES_MISCOUNTED, f"{where}: {seen} are not {tally.messages} messages")
        if found.misnumbered:
            yield Finding(Code.ROW_NUMBERS, f"{where}: {found.misnumbered} messages' rows are not numbered from 0 on")


def _found(lake: Lake, table: LakeConfig, window: Sequence[Piece], *, has_table: bool) -> dict[int, Found]:
    """What is there of each piece of a window, by the index of its commit."""
    named = _ranges_of(window)
    if not named["starts"]:
        return {}
    texts = {
        "ranges": _RANGES,
        "table": in_lake(table.schema_name, table.table),
        "letters": in_lake(table.schema_name, dead_letter_table(table.table)),
    }
    bounds = {"first": min(named["starts"]), "stop": max(named["stops"])}
    found: dict[int, Found] = {}
    if has_table:
        for index, *counts in lake.execute(_MESSAGES.format(**texts), {**named, **bounds}):
            found[index] = Found(*counts)
    for index, letters, messages in lake.execute(_LETTERS.format(**texts), named):
        found[index] = replace(found.get(index, Found()), dead=messages, dead_duplicates=letters - messages)
    return found


def _explain(
    lake: Lake, table: LakeConfig, short: Sequence[tuple[LedgerEntry, int]], *, has_table: bool
) -> Iterator[Finding]:
    """Rows that somebody deleted, by the snapshots that say so, or said so before they expired; others are lost."""
    commits = [commit for commit, _ in short]
    noted = removals.read(lake, commits[0].pipeline)
    known = {removal.snapshot_id for removal in noted}
    [(oldest, newest)] = lake.execute("SELECT min(snapshot_id), max(snapshot_id) FROM ducklake_snapshots(?)", [LAKE])
    living = deleted(lake, table, commits, oldest, newest) if has_table else ()
    for commit, missing in short:
        where = f"commit {commit.commit_id} (snapshot {commit.snapshot_id})"
        by_snapshot = {item.snapshot_id: item.rows_of(commit) for item in living if item.snapshot_id not in known}
        by_noted = {item: item.rows_of(commit) for item in noted}
        whom = [str(item) for item, rows in by_noted.items() if rows]
        if ids := [number for number, rows in by_snapshot.items() if rows]:
            whom.append(_snapshots(lake, ids))
        gone = sum(by_snapshot.values()) + sum(by_noted.values())
        if gone:
            yield Finding(Code.ROWS_DELETED, f"{where}: {gone} rows were deleted by {', '.join(whom)}")
        if (lost := missing - gone) > 0:
            yield Finding(Code.ROWS_MISSING, f"{where}: {lost} of {commit.tally.rows} rows are not in the table")


def deleted(
    lake: Lake, table: LakeConfig, commits: Sequence[LedgerEntry], oldest: int, newest: int
) -> tuple[Removal, ...]:
    """Rows of commits that these snapshots say were deleted, and that are not there; none, where nobody can say."""
    named = {"schema": table.schema_name, "table": table.table, "oldest": oldest, "newest": newest}
    text = _DELETED.format(ranges=_RANGES, lake=LAKE, table=in_lake(table.schema_name, table.table))
    whole = [Piece(index, commit.generation, commit.ranges, 0, is_last=True) for index, commit in enumerate(commits)]
    try:
        found = lake.execute(text, {**_ranges_of(whole), **named})
    except (StatementRefused, CatalogUnavailable):
        return ()  # the files that held the deleted rows may be cleaned up already
    by_snapshot: dict[int, list[RemovedRows]] = {}
    for generation, part, start, stop, snapshot, rows in found:
        by_snapshot.setdefault(snapshot, []).append(RemovedRows(generation, OffsetRange(part, start, stop), rows))
    return tuple(Removal(snapshot, tuple(rows)) for snapshot, rows in sorted(by_snapshot.items()))


def _snapshots(lake: Lake, ids: Iterable[int]) -> str:
    """Snapshots as a person knows them: number, author, time."""
    found = lake.execute(
        "SELECT snapshot_id, coalesce(author, 'somebody'), snapshot_time FROM ducklake_snapshots(?) "
        "WHERE list_contains(?, snapshot_id) ORDER BY snapshot_id",
        [LAKE, list(ids)],
    )
    return ", ".join(f"snapshot {number} ({author}, {at:%Y-%m-%d %H:%M} UTC)" for number, author, at in found)


def _ranges_of(window: Sequence[Piece]) -> dict[str, list[int]]:
    """The parameters of `_RANGES`: one element per piece and partition."""
    parts = [(piece.commit, piece.generation, part) for piece in window for part in piece.ranges]
    return {
        "commits": [index for index, _, _ in parts],
        "generations": [generation for _, generation, _ in parts],
        "partitions": [part.partition for _, _, part in parts],
        "starts": [part.start for _, _, part in parts],
        "stops": [part.stop for _, _, part in parts],
    }
