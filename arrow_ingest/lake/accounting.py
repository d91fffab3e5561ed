"""The ledger's commits in, findings out: does the table hold what they say, each row once?

Rows are matched to commits by what names them for ever: generation, partition, offset, row. Compaction, sorting and
rewriting of files change nothing of that, nor does a rebuild. Rows of a dead letter that was replayed are the replay's,
not those of the commit that read it. Only these columns are read, a window of commits at a time.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from arrow_ingest.config import LakeConfig
from arrow_ingest.errors import CatalogUnavailable, StatementRefused
from arrow_ingest.lake.dead_letters import dead_letter_table
from arrow_ingest.lake.findings import Code, Finding
from arrow_ingest.lake.ledger import LedgerEntry
from arrow_ingest.lake.letter_events import LetterEvent, Span, outside
from arrow_ingest.lake.session import Lake
from arrow_ingest.lake.sql import LAKE, in_lake
from arrow_ingest.values import CommitKind

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
WITH {ranges}, held AS (
    SELECT generation, "partition" AS part, "offset" AS position FROM {letters}
), resolved AS (
    SELECT unnest($resolved_generations) AS generation, unnest($resolved_partitions) AS part,
           unnest($resolved_offsets) AS position
), letters AS (FROM held UNION ALL (FROM resolved ANTI JOIN held USING (generation, part, position)))
SELECT commit, count(*), count(DISTINCT (l.part, l.position))
FROM letters l JOIN ranges r USING (generation, part)
WHERE l.position >= r.start AND l.position < r.stop
GROUP BY commit
"""
"""Letters with an event count although their payload may be gone by now."""

_DELETED = """
WITH {ranges}, gone AS (
    SELECT min(snapshot_id) AS snapshot_id, _kafka_generation AS generation, _kafka_partition AS part,
           _kafka_offset AS position, _kafka_row AS row_number
    FROM ducklake_table_deletions('{lake}', $schema, $table, $oldest, $newest) GROUP BY ALL
)
SELECT commit, gone.snapshot_id, count(*)
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
class _Places:
    """A run of offsets of one generation and partition."""

    generation: int
    partition: int
    start: int
    stop: int

    @property
    def count(self) -> int:
        return self.stop - self.start


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
    short: list[tuple[LedgerEntry, int]] = []
    becoming = Becoming(spans)
    for window in windows(commits, window_rows):
        found = _found(lake, table, window, becoming, has_table=has_table)
        for index, commit in enumerate(window):
            here = found.get(index, Found())
            yield from check_commit(commit, here, offsets=sum(place.count for place in becoming.places_of(commit)))
            if here.rows < commit.tally.rows:
                short.append((commit, commit.tally.rows - here.rows))
    if short:
        yield from _explain(lake, table, short, becoming, has_table=has_table)


def check_foreign_rows(lake: Lake, table: LakeConfig, commits: Sequence[LedgerEntry]) -> Iterator[Finding]:
    """Rows that lie in no commit of the ledger: somebody else added them."""
    text = _FOREIGN.format(ranges=_RANGES, table=in_lake(table.schema_name, table.table))
    foreign = dict(lake.execute(text, _named([(commit, _read_by(commit)) for commit in commits])))
    for snapshot, rows in foreign.items():
        yield Finding(Code.ROWS_ADDED, f"{rows} rows of no commit came with {_snapshots(lake, [snapshot])}")


def windows(commits: Sequence[LedgerEntry], most_rows: int) -> Iterator[list[LedgerEntry]]:
    """Commits in their order, in lists of about ``most_rows`` rows and letters at most, or of one commit."""
    window: list[LedgerEntry] = []
    size = 0
    for commit in commits:
        if window and size + commit.tally.rows + commit.tally.dead > most_rows:
            yield window
            window, size = [], 0
        window.append(commit)
        size += commit.tally.rows + commit.tally.dead
    if window:
        yield window


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


class Becoming:
    """What became of dead letters, and so which offsets' rows came with which commit."""

    def __init__(self, spans: Sequence[Span]) -> None:
        self._spans = spans
        replayed: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for span in spans:
            if span.event is LetterEvent.REPLAYED:
                replayed.setdefault((span.generation, span.partition), []).append((span.start, span.stop))
        self._replayed = {log: sorted(runs) for log, runs in replayed.items()}

    def places_of(self, commit: LedgerEntry) -> list[_Places]:
        """The offsets that a commit read: its ranges, or the letters that it replayed."""
        if commit.kind is CommitKind.REPLAY:
            return [
                _Places(span.generation, span.partition, span.start, span.stop)
                for span in self._spans
                if span.commit_id == commit.commit_id
            ]
        return _read_by(commit)

    def rows_of(self, commit: LedgerEntry) -> list[_Places]:
        """The offsets whose rows came with a commit: those that it read, save what was replayed later."""
        places = self.places_of(commit)
        if commit.kind is CommitKind.REPLAY:
            return places
        return [
            _Places(place.generation, place.partition, start, stop)
            for place in places
            for start, stop in outside(
                place.start, place.stop, self._replayed.get((place.generation, place.partition), ())
            )
        ]

    def resolved(self) -> dict[str, list[int]]:
        """The letters with an event, as parameters of `_LETTERS`."""
        each = [
            (span.generation, span.partition, offset) for span in self._spans for offset in range(span.start, span.stop)
        ]
        return {
            "resolved_generations": [generation for generation, _, _ in each],
            "resolved_partitions": [partition for _, partition, _ in each],
            "resolved_offsets": [offset for _, _, offset in each],
        }


def _found(
    lake: Lake, table: LakeConfig, window: Sequence[LedgerEntry], becoming: Becoming, *, has_table: bool
) -> dict[int, Found]:
    """What is there of each commit of a window, by its index."""
    alive = _named([(commit, becoming.rows_of(commit)) for commit in window])
    texts = {
        "ranges": _RANGES,
        "table": in_lake(table.schema_name, table.table),
        "letters": in_lake(table.schema_name, dead_letter_table(table.table)),
    }
    found: dict[int, Found] = {}
    if has_table and alive["starts"]:
        bounds = {"first": min(alive["starts"]), "stop": max(alive["stops"])}
        for index, *counts in lake.execute(_MESSAGES.format(**texts), {**alive, **bounds}):
            found[index] = Found(*counts)
    read = _named([(commit, _read_by(commit)) for commit in window])
    if read["starts"]:
        for index, letters, messages in lake.execute(_LETTERS.format(**texts), {**read, **becoming.resolved()}):
            found[index] = replace(found.get(index, Found()), dead=messages, dead_duplicates=letters - messages)
    return found


def _explain(
    lake: Lake, table: LakeConfig, short: Sequence[tuple[LedgerEntry, int]], becoming: Becoming, *, has_table: bool
) -> Iterator[Finding]:
    """Rows that somebody deleted, by the snapshots that say so; the others are lost."""
    places = _named([(commit, becoming.rows_of(commit)) for commit, _ in short])
    deleted = _deleted(lake, table, places) if has_table else {}
    for index, (commit, missing) in enumerate(short):
        where = f"commit {commit.commit_id} (snapshot {commit.snapshot_id})"
        by_snapshot = deleted.get(index, {})
        if by_snapshot:
            by_whom = _snapshots(lake, by_snapshot)
            yield Finding(Code.ROWS_DELETED, f"{where}: {sum(by_snapshot.values())} rows were deleted by {by_whom}")
        if (lost := missing - sum(by_snapshot.values())) > 0:
            yield Finding(Code.ROWS_MISSING, f"{where}: {lost} of {commit.tally.rows} rows are not in the table")


def _deleted(lake: Lake, table: LakeConfig, places: dict[str, list[int]]) -> dict[int, dict[int, int]]:
    """Rows of each commit that snapshots say were deleted and that are not there: ``{index: {snapshot: rows}}``."""
    [(oldest, newest)] = lake.execute("SELECT min(snapshot_id), max(snapshot_id) FROM ducklake_snapshots(?)", [LAKE])
    named = {"schema": table.schema_name, "table": table.table, "oldest": oldest, "newest": newest}
    text = _DELETED.format(ranges=_RANGES, lake=LAKE, table=in_lake(table.schema_name, table.table))
    try:
        found = lake.execute(text, {**places, **named})
    except (StatementRefused, CatalogUnavailable):
        return {}  # the files that held the deleted rows may be cleaned up already: then nobody can say
    deleted: dict[int, dict[int, int]] = {}
    for index, snapshot, rows in found:
        deleted.setdefault(index, {})[snapshot] = rows
    return deleted


def _snapshots(lake: Lake, ids: Iterable[int]) -> str:
    """Snapshots as a person knows them: number, author, time."""
    found = lake.execute(
        "SELECT snapshot_id, coalesce(author, 'somebody'), snapshot_time FROM ducklake_snapshots(?) "
        "WHERE list_contains(?, snapshot_id) ORDER BY snapshot_id",
        [LAKE, list(ids)],
    )
    return ", ".join(f"snapshot {number} ({author}, {at:%Y-%m-%d %H:%M} UTC)" for number, author, at in found)


def _read_by(commit: LedgerEntry) -> list[_Places]:
    return [_Places(commit.generation, part.partition, part.start, part.stop) for part in commit.ranges]


def _named(commits: Sequence[tuple[LedgerEntry, Sequence[_Places]]]) -> dict[str, list[int]]:
    """The parameters of `_RANGES`: one element per commit and run of offsets."""
    each = [(index, place) for index, (_, places) in enumerate(commits) for place in places]
    return {
        "commits": [index for index, _ in each],
        "generations": [place.generation for _, place in each],
        "partitions": [place.partition for _, place in each],
        "starts": [place.start for _, place in each],
        "stops": [place.stop for _, place in each],
    }
