"""A pipeline's dead letters as they are stored: what they are, and the payloads one by one."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from arrow_ingest.config import LakeConfig
from arrow_ingest.lake.dead_letters import dead_letter_table
from arrow_ingest.lake.letter_events import Place, spans_text
from arrow_ingest.lake.session import Lake
from arrow_ingest.lake.sql import in_lake
from arrow_ingest.values import Reason

WINDOW_BYTES = 64 * 1024 * 1024
"""Payload bytes that `payloads` holds at once, or one payload."""

_HEADS = """
SELECT l.generation, "partition", "offset", timestamp, reason, detail, octet_length(payload), dead_at, l.commit_id,
       became.event
FROM {table} l LEFT JOIN ({spans}) became
  ON became.generation = l.generation AND became.part = l."partition"
  AND became.start <= "offset" AND became.stop > "offset"
WHERE ($is_unresolved IS FALSE OR became.event IS NULL)
  AND ($reasons IS NULL OR list_contains($reasons, reason))
  AND ($since IS NULL OR dead_at >= $since) AND ($until IS NULL OR dead_at < $until)
  AND ($partition IS NULL OR "partition" = $partition) AND ($offset IS NULL OR "offset" = $offset)
  AND ($generation IS NULL OR l.generation = $generation)
ORDER BY dead_at {direction}, l.generation {direction}, "partition", "offset"
LIMIT $limit
"""

_BODIES = """
WITH wanted AS (SELECT unnest($generations) AS generation, unnest($partitions) AS "partition",
                       unnest($offsets) AS "offset")
SELECT generation, "partition", "offset", key, headers, payload
FROM {table} SEMI JOIN wanted USING (generation, "partition", "offset")
"""


@dataclass(frozen=True, slots=True)
class StoredLetter:
    """A dead letter without what a producer put into it.

    Args:
        timestamp: the record's own; None: it had none.
        payload_bytes: None: the message had no value.
        dead_at: when it was found to be one.
        commit_id: of the commit that holds it.
        became: ``replayed`` or ``expired``; None: it is unresolved.
    """

    generation: int
    partition: int
    offset: int
    timestamp: datetime | None
    reason: str
    detail: str
    payload_bytes: int | None
    dead_at: datetime
    commit_id: str
    became: str | None = None

    @property
    def place(self) -> Place:
        """What names it for ever."""
        return Place(self.generation, self.partition, self.offset)


@dataclass(frozen=True, slots=True)
class Body:
    """What a producer put into a message that became a dead letter."""

    key: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    payload: bytes | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which dead letters: all bounds together; None and empty bind nothing.

    Args:
        since, until: found in this half-open time.
        limit: the newest so many; the oldest with ``is_oldest_first``.
        is_unresolved: only those that nothing has become of yet.
    """

    reasons: Collection[Reason] = ()
    since: datetime | None = None
    until: datetime | None = None
    generation: int | None = None
    partition: int | None = None
    offset: int | None = None
    limit: int | None = None
    is_unresolved: bool = False
    is_oldest_first: bool = False


def stored_letters(lake: Lake, pipeline: str, table: LakeConfig, wanted: Wanted) -> tuple[StoredLetter, ...]:
    """The dead letters that are wanted, the newest first if not told otherwise; none before the pipeline's first run.

    Raises:
        CatalogUnavailable: catalog or files cannot be read.
    """
    if not has_letters(lake, table):
        return ()
    direction = "ASC" if wanted.is_oldest_first else "DESC"
    rows = lake.execute(
        _HEADS.format(table=_name(table), spans=spans_text(lake), direction=direction),
        {
            "pipeline": pipeline,
            "is_unresolved": wanted.is_unresolved,
            "reasons": [reason.value for reason in wanted.reasons] or None,
            "since": wanted.since,
            "until": wanted.until,
            "generation": wanted.generation,
            "partition": wanted.partition,
            "offset": wanted.offset,
            "limit": wanted.limit,
        },
    )
    return tuple(StoredLetter(*row) for row in rows)


def places_of_letters(lake: Lake, table: LakeConfig) -> tuple[Place, ...]:
    """Where the dead letters stand that are in their table, whatever became of them."""
    rows = lake.execute(f'SELECT DISTINCT generation, "partition", "offset" FROM {_name(table)}')
    return tuple(Place(*row) for row in rows)


def bodies(
    lake: Lake, table: LakeConfig, letters: Sequence[StoredLetter], *, window_bytes: int = WINDOW_BYTES
) -> Iterator[tuple[StoredLetter, Body]]:
    """The letters in their order, each with what is in it; a window of payloads is in memory at a time.

    Raises:
        CatalogUnavailable: catalog or files cannot be read.
    """
    for window in _windows(letters, window_bytes):
        rows = lake.execute(
            _BODIES.format(table=_name(table)),
            {
                "generations": [letter.generation for letter in window],
                "partitions": [letter.partition for letter in window],
                "offsets": [letter.offset for letter in window],
            },
        )
        found = {
            tuple(place): Body(key, tuple((header["key"], header["value"]) for header in headers), payload)
            for *place, key, headers, payload in rows
        }
        for letter in window:
            yield letter, found[letter.generation, letter.partition, letter.offset]


def _windows(letters: Sequence[StoredLetter], most_bytes: int) -> Iterator[list[StoredLetter]]:
    window: list[StoredLetter] = []
    size = 0
    for letter in letters:
        if window and size + (letter.payload_bytes or 0) > most_bytes:
            yield window
            window, size = [], 0
        window.append(letter)
        size += letter.payload_bytes or 0
    if window:
        yield window


def has_letters(lake: Lake, table: LakeConfig) -> bool:
    """Whether the pipeline has a dead-letter table: it is made before the pipeline's first commit."""
    return dead_letter_table(table.table) in lake.names_in(table.schema_name)


def _name(table: LakeConfig) -> str:
    return in_lake(table.schema_name, dead_letter_table(table.table))
