"""What became of dead letters, ``arrow_ingest.dead_letter_events``: appended in the transaction that does it.

A dead letter has one event at most: it was replayed, its rows came with that commit; or it expired, nobody waits for
its rows any more. Without one it is unresolved. One row per commit, generation and Kafka partition, so that a thousand
letters of one bad minute are a few numbers in the catalog. A lake that an earlier arrow_ingest made has no such table
until a run of this one comes by: then nothing has happened yet.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from arrow_ingest.lake.own_tables import has_own
from arrow_ingest.lake.schema import Column
from arrow_ingest.lake.session import Lake
from arrow_ingest.lake.sql import insert, own

NAME = "dead_letter_events"
EVENTS = own(NAME)

COLUMNS = (
    Column("commit_id", "VARCHAR"),
    Column("pipeline", "VARCHAR"),
    Column("event", "VARCHAR"),
    Column("generation", "INTEGER"),
    Column("partition", "INTEGER"),
    Column("offsets", 'STRUCT("start" BIGINT, "stop" BIGINT)[]'),
    Column("run_id", "VARCHAR"),
    Column("happened_at", "TIMESTAMP WITH TIME ZONE"),
)

_NONE = (
    "SELECT NULL::VARCHAR AS commit_id, NULL::VARCHAR AS event, NULL::INTEGER AS generation, NULL::INTEGER AS part, "
    "NULL::BIGINT AS start, NULL::BIGINT AS stop WHERE false"
)

_SPANS = f"""
SELECT commit_id, event, generation, part, span."start" AS start, span."stop" AS stop
FROM (SELECT commit_id, event, generation, "partition" AS part, unnest(offsets) AS span
      FROM {EVENTS} WHERE pipeline = $pipeline)
"""


class LetterEvent(StrEnum):
    """What becomes of a dead letter; stored in the lake, so never renamed."""

    REPLAYED = "replayed"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """What names a dead letter for ever."""

    generation: int
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Span:
    """Dead letters at consecutive offsets ``[start, stop)``, of which the same became in one commit."""

    commit_id: str
    event: LetterEvent
    generation: int
    partition: int
    start: int
    stop: int

    @property
    def count(self) -> int:
        """How many letters."""
        return self.stop - self.start


def spans_text(lake: Lake) -> str:
    """A query of the columns of `Span`, partition as ``part``; it takes the parameter ``$pipeline``."""
    # Named in both, so that a caller may always give it.
    return _SPANS if has_own(lake, NAME) else f"{_NONE} AND $pipeline IS NOT NULL"


def read_spans(lake: Lake, pipeline: str) -> tuple[Span, ...]:
    """All that became of a pipeline's dead letters, ascending by place."""
    rows = lake.execute(f"{spans_text(lake)} ORDER BY generation, part, start", {"pipeline": pipeline})
    return tuple(Span(commit_id, LetterEvent(event), *numbers) for commit_id, event, *numbers in rows)


def resolved_letters(lake: Lake, pipeline: str) -> int:
    """How many of a pipeline's dead letters have an event."""
    [(count,)] = lake.execute(
        f"SELECT coalesce(sum(stop - start), 0)::BIGINT FROM ({spans_text(lake)})", {"pipeline": pipeline}
    )
    return int(count)


def any_resolved(lake: Lake, pipeline: str, places: Iterable[Place]) -> bool:
    """Whether one of the letters has an event already."""
    text = f"""
    WITH wanted AS (SELECT unnest($generations) AS generation, unnest($parts) AS part, unnest($positions) AS position)
    SELECT 1 FROM wanted JOIN ({spans_text(lake)}) spans USING (generation, part)
    WHERE position >= start AND position < stop LIMIT 1
    """
    wanted = tuple(places)
    named = {
        "pipeline": pipeline,
        "generations": [place.generation for place in wanted],
        "parts": [place.partition for place in wanted],
        "positions": [place.offset for place in wanted],
    }
    return bool(lake.execute(text, named))


def append(
    lake: Lake,
    pipeline: str,
    event: LetterEvent,
    places: Iterable[Place],
    *,
    commit_id: str,
    run_id: str,
    happened_at: datetime,
) -> None:
    """Write down what becomes of letters; the caller's transaction is open and holds the pipeline's claim."""
    for (generation, partition), runs in runs_of(places).items():
        offsets = [{"start": start, "stop": stop} for start, stop in runs]
        lake.execute(
            insert(EVENTS, COLUMNS),
            (commit_id, pipeline, event.value, generation, partition, offsets, run_id, happened_at),
        )


def runs_of(places: Iterable[Place]) -> Mapping[tuple[int, int], list[tuple[int, int]]]:
    """Per generation and partition the half-open runs of consecutive offsets, ascending.

    >>> runs_of([Place(0, 1, 7), Place(0, 1, 5), Place(0, 1, 6), Place(0, 1, 9)])
    {(0, 1): [(5, 8), (9, 10)]}
    """
    found: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for place in sorted(set(places)):
        runs = found.setdefault((place.generation, place.partition), [])
        if runs and runs[-1][1] == place.offset:
            runs[-1] = (runs[-1][0], place.offset + 1)
        else:
            runs.append((place.offset, place.offset + 1))
    return found


def outside(start: int, stop: int, holes: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """What is left of ``[start, stop)`` without the holes, which ascend and do not overlap.

    >>> list(outside(0, 10, [(0, 1), (4, 6), (20, 30)]))
    [(1, 4), (6, 10)]
    """
    for hole_start, hole_stop in holes:
        if hole_stop <= start or hole_start >= stop:
            continue
        if start < hole_start:
            yield start, hole_start
        start = hole_stop
    if start < stop:
        yield start, stop
