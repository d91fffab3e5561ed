"""A table partition in, the offsets that its rows came from out: by the ledger, not by what the table holds.

Of the present generation only: what an earlier topic held cannot be read again. Messages that are dead letters have no
rows and are left out, unless a replay brought them in.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from arrow_ingest.errors import RebuildRefused
from arrow_ingest.lake.ledger import LedgerEntry
from arrow_ingest.lake.letter_events import LetterEvent, Place, Span, outside, runs_of
from arrow_ingest.values import CommitKind, LaneState

GAP_OFFSETS = 1_000
"""Offsets that are read and thrown away rather than that the log is asked anew."""


@dataclass(frozen=True, slots=True, order=True)
class Run:
    """Consecutive offsets of one Kafka partition whose messages came with one commit, by its index."""

    partition: int
    start: int
    stop: int
    commit: int


@dataclass(frozen=True, slots=True)
class Scope:
    """What to read, and what the ledger says must come of it.

    Args:
        key: the table partition; None: a table without partitions.
        generations: the present generation of each Kafka partition.
        commits: those that brought rows.
        runs: ascending, without overlap.
        expected: rows of the table partition per commit; a commit that also brought rows of earlier generations is not
            in it, since the ledger does not tell them apart.
    """

    key: str | None
    generations: Mapping[int, int]
    commits: tuple[LedgerEntry, ...]
    runs: tuple[Run, ...]
    expected: Mapping[int, int]

    def find(self, partition: int, offset: int) -> Run | None:
        """The run that a message is in; None: its rows, if it has any, are not wanted."""
        index = bisect_right(self.runs, Run(partition, offset, 2**63 - 1, 0)) - 1
        run = self.runs[index] if index >= 0 else None
        return run if run is not None and run.partition == partition and run.start <= offset < run.stop else None

    def passes(self) -> Iterator[dict[int, tuple[int, int]]]:
        """What to read of each partition ``[start, stop)``, in as few passes over the log as they have distant runs."""
        by_partition: dict[int, list[tuple[int, int]]] = {}
        for run in self.runs:
            merged = by_partition.setdefault(run.partition, [])
            if merged and run.start - merged[-1][1] <= GAP_OFFSETS:
                merged[-1] = (merged[-1][0], run.stop)
            else:
                merged.append((run.start, run.stop))
        for number in range(max((len(parts) for parts in by_partition.values()), default=0)):
            yield {partition: parts[number] for partition, parts in by_partition.items() if number < len(parts)}


def scope_of(
    key: str | None,
    entries: Sequence[LedgerEntry],
    spans: Sequence[Span],
    letters: Iterable[Place],
    lanes: Sequence[LaneState],
) -> Scope:
    """Find the messages of a table partition.

    Args:
        entries: the pipeline's whole ledger.
        spans: what became of its dead letters.
        letters: its dead letters, those that are no longer in their table may be left out.

    Raises:
        RebuildRefused: a commit is of the present generation in some Kafka partitions only.
    """
    generations = {partition: lane.generation for lane in lanes for partition in lane.positions}
    gone = (Place(span.generation, span.partition, at) for span in spans for at in range(span.start, span.stop))
    dead = runs_of([*letters, *gone])
    commits = [entry for entry in entries if any(part.value == key and part.rows for part in entry.touched)]
    runs: list[Run] = []
    expected: dict[int, int] = {}
    for index, entry in enumerate(commits):
        places = _places(entry, spans)
        present = [place for place in places if generations.get(place[1]) == place[0]]
        if not present:
            continue
        if len(present) == len(places):
            expected[index] = sum(part.rows for part in entry.touched if part.value == key)
        elif entry.kind is not CommitKind.REPLAY:
            raise RebuildRefused(key, f"commit {entry.commit_id} is of this topic in some Kafka partitions only")
        for generation, partition, start, stop in present:
            holes = () if entry.kind is CommitKind.REPLAY else dead.get((generation, partition), ())
            runs.extend(Run(partition, *part, index) for part in outside(start, stop, holes))
    return Scope(key, generations, tuple(commits), tuple(sorted(runs)), expected)


def _places(entry: LedgerEntry, spans: Sequence[Span]) -> list[tuple[int, int, int, int]]:
    """What a commit read: generation, partition, start, stop."""
    if entry.kind is CommitKind.REPLAY:
        replayed = [s for s in spans if s.commit_id == entry.commit_id and s.event is LetterEvent.REPLAYED]
        return [(span.generation, span.partition, span.start, span.stop) for span in replayed]
    return [(entry.generation, part.partition, part.start, part.stop) for part in entry.ranges]
