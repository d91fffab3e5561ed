"""The ledger's commits in, findings out: does the table hold what they say, each row once?

Rows are matched to commits by what names them for ever: generation, partition, offset, row. Compaction, sorting and
rewriting of files change nothing of that, nor does a rebuild. Rows of a dead letter that was replayed are the replay's,
not those of the commit that read it (`commit_offsets`). Only these columns are read, a window of commits at a time; a
commit that is larger than a window, as the sum of a rolled-up ledger is, is looked at piece by piece.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from arrow_ingest.config import LakeConfig
from arrow_ingest.errors import CatalogUnavailable, StatementRefused
from arrow_ingest.lake import removals
from arrow_ingest.lake.commit_offsets import CommitOffsets, Piece, named, windows
from arrow_ingest.lake.dead_letters import dead_letter_table
from arrow_ingest.lake.findings import Code, Finding
from arrow_ingest.lake.ledger import LedgerEntry
from arrow_ingest.lake.letter_events import Span
from arrow_ingest.lake.removals import Removal, RemovedRows
from arrow_ingest.lake.session import Lake
from arrow_ingest.lake.sql import LAKE, in_lake
from arrow_ingest.values import CommitKind, OffsetRange

WINDOW_ROWS = 5_000_000
"""Rows that are counted at once: their identities and groups fit into the session's memory."""

_RANGES = """ranges AS (
    SELECT unnest($commits) AS commit, unnest($generations) AS generation, unnest($partitions) AS part,
           unnest($starts) AS start, unnest($stops) AS stop
)"""
"""Ranges of one partition do not overlap (`continuity` finds it if they do), so the last one that starts at or before
an offset is the only one that can hold it: ASOF finds it by sorting, where comparing each offset with each range took
six minutes at 50,000 commits."""

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
FROM messages m ASOF JOIN ranges r ON m.generation = r.generation AND m.part = r.part AND m.position >= r.start
LEFT JOIN dead ON dead.generation = m.generation AND dead.part = m.part AND dead.position = m.position
WHERE m.position < r.stop
GROUP BY commit
"""

_LETTERS = """
WITH {ranges}, held AS (
    SELECT generation, "partition" AS part, "offset" AS position FROM {letters}
), resolved AS (
    SELECT unnest($resolved_generations) AS generation, unnest($resolved_partitions) AS part,
           unnest($resolved_offsets) AS position
), letters AS (FROM held UNION ALL (FROM resolved ANTI JOIN held USING (generation, part, position)))
SELECT commit, count(*), count(DISTINCT (l.part, l.position))
FROM letters l ASOF JOIN ranges r ON l.generation = r.generation AND l.part = r.part AND l.position >= r.start
WHERE l.position < r.stop
GROUP BY commit
"""
"""Letters with an event count although their payload may be gone by now."""

_DELETED = """
WITH {ranges}, gone AS (
    SELECT min(snapshot_id) AS snapshot_id, _kafka_generation AS generation, _kafka_partition AS part,
           _kafka_offset AS position, _kafka_row AS row_number
    FROM ducklake_table_deletions('{lake}', $schema, $table, $oldest, $newest) GROUP BY ALL
)
SELECT gone.generation, gone.part, r.start, r.stop, gone.snapshot_id, count(*)
FROM gone ASOF JOIN ranges r ON gone.generation = r.generation AND gone.part = r.part AND gone.position >= r.start
WHERE gone.position < r.stop AND NOT EXISTS (
    SELECT 1 FROM {table} t WHERE t._kafka_generation = gone.generation AND t._kafka_partition = gone.part
    AND t._kafka_offset = gone.position AND t._kafka_row = gone.row_number)
GROUP BY ALL
"""

_FOREIGN = """
WITH {ranges}
SELECT snapshot_id, count(*) FROM (
    SELECT snapshot_id, _kafka_generation AS generation, _kafka_partition AS part, _kafka_offset AS position
    FROM {table}
) t ASOF LEFT JOIN ranges r ON r.generation = t.generation AND r.part = t.part AND t.position >= r.start
WHERE r.stop IS NULL OR t.position >= r.stop
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


def check_rows(
    lake: Lake,
    table: LakeConfig,
    commits: Sequence[LedgerEntry],
    spans: Sequence[Span] = (),
    *,
    has_table: bool,
    window_rows: int = WINDOW_ROWS,
) -> Iterator[Finding]:
    """Compare commits with the table and its dead letters, about ``window_rows`` rows at a time.

    Args:
        spans: what became of the pipeline's dead letters.
    """
    offsets = CommitOffsets(spans)
    short: list[tuple[LedgerEntry, int]] = []
    seen: dict[int, Found] = {}
    checked = 0
    for window in windows(commits, offsets, window_rows):
        for index, found in _found(lake, table, window, offsets, has_table=has_table).items():
            seen[index] = seen.get(index, Found()) + found
        done = window[-1].commit + window[-1].is_last
        for index in range(checked, done):
            commit, here = commits[index], seen.pop(index, Found())
            yield from check_commit(commit, here, offsets=offsets.count(commit))
            if here.rows < commit.tally.rows:
                short.append((commit, commit.tally.rows - here.rows))
        checked = done
    if short:
        yield from _explain(lake, table, short, offsets, has_table=has_table)


def check_foreign_rows(lake: Lake, table: LakeConfig, commits: Sequence[LedgerEntry]) -> Iterator[Finding]:
    """Rows that lie in no commit of the ledger: somebody else added them."""
    text = _FOREIGN.format(ranges=_RANGES, table=in_lake(table.schema_name, table.table))
    whole = [Piece(index, commit.generation, commit.ranges, 0, is_last=True) for index, commit in enumerate(commits)]
    foreign = dict(lake.execute(text, named(whole)))
    for snapshot, rows in foreign.items():
        yield Finding(Code.ROWS_ADDED, f"{rows} rows of no commit came with {_snapshots(lake, [snapshot])}")


def check_commit(commit: LedgerEntry, found: Found, *, offsets: int) -> Iterator[Finding]:
    """Compare one commit's tally with what was found; rows that are missing are left to be explained.

    Args:
        offsets: how many it read.
    """
    tally, where = commit.tally, f"commit {commit.commit_id} (snapshot {commit.snapshot_id})"
    if tally.messages > offsets:
        yield Finding(Code.MESSAGES_MISCOUNTED, f"{where}: {tally.messages} messages in {offsets} offsets")
    if found.duplicates:
        yield Finding(Code.DUPLICATE_ROWS, f"{where}: {found.duplicates} rows are there twice")
    if found.dead_and_alive and commit.kind is not CommitKind.REPLAY:
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


def _found(
    lake: Lake, table: LakeConfig, window: Sequence[Piece], offsets: CommitOffsets, *, has_table: bool
) -> dict[int, Found]:
    """What is there of each piece of a window, by the index of its commit."""
    texts = {
        "ranges": _RANGES,
        "table": in_lake(table.schema_name, table.table),
        "letters": in_lake(table.schema_name, dead_letter_table(table.table)),
    }
    found: dict[int, Found] = {}
    alive = named([offsets.alive(piece) for piece in window])
    if has_table and alive["starts"]:
        bounds = {"first": min(alive["starts"]), "stop": max(alive["stops"])}
        for index, *counts in lake.execute(_MESSAGES.format(**texts), {**alive, **bounds}):
            found[index] = Found(*counts)
    read = named([piece for piece in window if not piece.is_replay])
    if read["starts"]:
        for index, letters, messages in lake.execute(_LETTERS.format(**texts), {**read, **offsets.resolved()}):
            found[index] = replace(found.get(index, Found()), dead=messages, dead_duplicates=letters - messages)
    return found


def _explain(
    lake: Lake, table: LakeConfig, short: Sequence[tuple[LedgerEntry, int]], offsets: CommitOffsets, *, has_table: bool
) -> Iterator[Finding]:
    """Rows that somebody deleted, by the snapshots that say so, or said so before they expired; others are lost."""
    commits = [commit for commit, _ in short]
    noted = removals.read(lake, commits[0].pipeline)
    known = {removal.snapshot_id for removal in noted}
    [(oldest, newest)] = lake.execute("SELECT min(snapshot_id), max(snapshot_id) FROM ducklake_snapshots(?)", [LAKE])
    living = deleted(lake, table, commits, offsets, oldest=oldest, newest=newest) if has_table else ()
    for commit, missing in short:
        where = f"commit {commit.commit_id} (snapshot {commit.snapshot_id})"
        by_snapshot = {
            item.snapshot_id: offsets.removed(item, commit) for item in living if item.snapshot_id not in known
        }
        by_noted = {item: offsets.removed(item, commit) for item in noted}
        whom = [str(item) for item, rows in by_noted.items() if rows]
        if ids := [number for number, rows in by_snapshot.items() if rows]:
            whom.append(_snapshots(lake, ids))
        gone = sum(by_snapshot.values()) + sum(by_noted.values())
        if gone:
            yield Finding(Code.ROWS_DELETED, f"{where}: {gone} rows were deleted by {', '.join(whom)}")
        if (lost := missing - gone) > 0:
            yield Finding(Code.ROWS_MISSING, f"{where}: {lost} of {commit.tally.rows} rows are not in the table")


def deleted(
    lake: Lake,
    table: LakeConfig,
    commits: Sequence[LedgerEntry],
    offsets: CommitOffsets,
    *,
    oldest: int,
    newest: int,
) -> tuple[Removal, ...]:
    """Rows of commits that these snapshots say were deleted, and that are not there; none, where nobody can say."""
    bounds = {"schema": table.schema_name, "table": table.table, "oldest": oldest, "newest": newest}
    text = _DELETED.format(ranges=_RANGES, lake=LAKE, table=in_lake(table.schema_name, table.table))
    alive = [offsets.alive(piece) for index, commit in enumerate(commits) for piece in offsets.pieces(index, commit, 0)]
    try:
        found = lake.execute(text, {**named(alive), **bounds})
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
