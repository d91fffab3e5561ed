"""Which offsets' rows came with which commit: those that it read; but those of a dead letter with its replay. Pure.

Offsets are looked at in pieces: a commit may be larger than what can be counted at once, as the sum of a rolled-up
ledger is.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from arrow_ingest.lake.ledger import LedgerEntry
from arrow_ingest.lake.letter_events import LetterEvent, Span, outside
from arrow_ingest.lake.removals import Removal, RemovedRows, holds
from arrow_ingest.values import CommitKind, OffsetRange


@dataclass(frozen=True, slots=True)
class Piece:
    """Offsets of a commit, by its index; ``rows`` is about how many rows and letters they have."""

    commit: int
    generation: int
    ranges: tuple[OffsetRange, ...]
    rows: int
    is_last: bool
    is_replay: bool = False


class CommitOffsets:
    """Knows what became of a pipeline's dead letters."""

    def __init__(self, spans: Sequence[Span]) -> None:
        self._spans = spans
        self._replays: dict[str, list[Span]] = {}
        runs: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for span in spans:
            if span.event is LetterEvent.REPLAYED:
                self._replays.setdefault(span.commit_id, []).append(span)
                runs.setdefault((span.generation, span.partition), []).append((span.start, span.stop))
        self._replayed = {log: sorted(found) for log, found in runs.items()}

    def count(self, commit: LedgerEntry) -> int:
        """How many offsets a commit read, or letters it replayed."""
        if commit.kind is CommitKind.REPLAY:
            return sum(span.count for span in self._replays.get(commit.commit_id, ()))
        return sum(part.count for part in commit.ranges)

    def pieces(self, index: int, commit: LedgerEntry, most_rows: int) -> Iterator[Piece]:
        """A commit's offsets in as many pieces as hold about ``most_rows`` of its rows each; at least one piece.

        Args:
            most_rows: 0: all in one. A replay's letters of a generation are one piece in any case.
        """
        size = commit.tally.rows + commit.tally.dead
        if commit.kind is CommitKind.REPLAY:
            yield from self._replay_pieces(index, commit, size)
            return
        longest = max((part.count for part in commit.ranges), default=1)
        parts = max(1, min(-(-size // most_rows), longest)) if most_rows else 1
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

    def alive(self, piece: Piece) -> Piece:
        """The offsets of a piece whose rows came with its commit."""
        if piece.is_replay:
            return piece
        left = (
            OffsetRange(part.partition, start, stop)
            for part in piece.ranges
            for start, stop in outside(
                part.start, part.stop, self._replayed.get((piece.generation, part.partition), ())
            )
        )
        return replace(piece, ranges=tuple(left))

    def removed(self, removal: Removal, commit: LedgerEntry) -> int:
        """How many of the rows that a removal deleted came with a commit."""
        spans = self._replays.get(commit.commit_id, ())
        if commit.kind is CommitKind.REPLAY:
            return sum(part.rows for part in removal.removed if _is_within(part, spans))
        replayed = [span for each in self._replays.values() for span in each]
        mine = replace(removal, removed=tuple(part for part in removal.removed if not _is_within(part, replayed)))
        return mine.rows_of(commit)

    def resolved(self) -> dict[str, list[int]]:
        """The letters with an event, as parameters of a query: one element per letter."""
        each = [
            (span.generation, span.partition, offset) for span in self._spans for offset in range(span.start, span.stop)
        ]
        return {
            "resolved_generations": [generation for generation, _, _ in each],
            "resolved_partitions": [partition for _, partition, _ in each],
            "resolved_offsets": [offset for _, _, offset in each],
        }

    def _replay_pieces(self, index: int, commit: LedgerEntry, size: int) -> Iterator[Piece]:
        spans = self._replays.get(commit.commit_id, [])
        generations = sorted({span.generation for span in spans}) or [commit.generation]
        for generation in generations:
            ranges = (
                OffsetRange(span.partition, span.start, span.stop) for span in spans if span.generation == generation
            )
            is_last = generation == generations[-1]
            yield Piece(index, generation, tuple(ranges), size // len(generations), is_last=is_last, is_replay=True)


def windows(commits: Sequence[LedgerEntry], offsets: CommitOffsets, most_rows: int) -> Iterator[list[Piece]]:
    """Commits in their order, in lists of about ``most_rows`` rows and letters at most, or of one message."""
    window: list[Piece] = []
    size = 0
    for index, commit in enumerate(commits):
        for piece in offsets.pieces(index, commit, max(1, most_rows)):
            if window and size + piece.rows > most_rows:
                yield window
                window, size = [], 0
            window.append(piece)
            size += piece.rows
    if window:
        yield window


def named(pieces: Iterable[Piece]) -> dict[str, list[int]]:
    """Pieces as parameters of a query: one element per piece and range."""
    parts = [(piece.commit, piece.generation, part) for piece in pieces for part in piece.ranges]
    return {
        "commits": [index for index, _, _ in parts],
        "generations": [generation for _, generation, _ in parts],
        "partitions": [part.partition for _, _, part in parts],
        "starts": [part.start for _, _, part in parts],
        "stops": [part.stop for _, _, part in parts],
    }


def _is_within(part: RemovedRows, spans: Iterable[Span]) -> bool:
    return any(
        span.generation == part.generation and holds(OffsetRange(span.partition, span.start, span.stop), part.offsets)
        for span in spans
    )
