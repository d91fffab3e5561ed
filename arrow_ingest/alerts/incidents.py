"""Observations to incidents that begin and end: what is told, once each. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    """What an incident is about. The values stand in sensor cursors."""

    LANE = "lane"
    RUNS = "runs"
    CHECK = "check"
    STALE = "stale"
    TICKS = "ticks"


class Subject(NamedTuple):
    """What can be well or in trouble, one incident at a time.

    Args:
        name: the number of a lane (LANE: it is suspended; RUNS: its runs fail; STALE: it has none), an asset check's
            name, or that of a sensor or schedule (TICKS: its ticks fail).
        partition: the table partition that a check is about; empty: none.
    """

    kind: Kind
    name: str
    partition: str = ""


class Level(StrEnum):
    """How bad it is."""

    WARN = "warn"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong with a subject.

    Args:
        says: what the check, or the run's error, says.
        run_id: the run that met it.
    """

    level: Level
    says: str
    run_id: str


@dataclass(frozen=True, slots=True)
class Observation:
    """A subject as one run found it.

    Args:
        at: Unix seconds.
        trouble: None: it is well.
    """

    subject: Subject
    at: float
    run_id: str
    trouble: Trouble | None


@dataclass(frozen=True, slots=True)
class Change:
    """An incident that began, or is over.

    Args:
        trouble: what began, or what is over.
        over_by: the run that found the subject well again; None: it began.
        is_worse: it was told before, as a warning.
    """

    subject: Subject
    trouble: Trouble
    over_by: str | None = None
    is_worse: bool = False


Open = Mapping[Subject, Trouble]

FOLLOWS_FROM_SUSPENSION = {
    ("lag", Level.WARN),
    ("freshness", Level.WARN),
    ("dead_letters", Level.WARN),
    ("dead_letters", Level.ERROR),
}
"""Failed checks that a suspended lane brings with it (over the budget of dead letters means suspended). Those that
still fail once it goes on are told then."""


def diff(known: Open, observed: Iterable[Observation]) -> tuple[dict[Subject, Trouble], tuple[Change, ...]]:
    """What is open after the observations, and the incidents that began or ended on the way.

    >>> subject, trouble = Subject(Kind.CHECK, "late_rows"), Trouble(Level.WARN, "5 rows", "run-1")
    >>> now, changes = diff({}, [Observation(subject, 1.0, "run-1", trouble), Observation(subject, 2.0, "run-2", None)])
    >>> now, [change.over_by for change in changes]
    ({}, [None, 'run-2'])
    """
    now, changes = dict(known), []
    # Lanes first: a suspension explains checks that failed a moment before it.
    for seen in sorted(observed, key=lambda seen: (seen.subject.kind is Kind.CHECK, seen.at)):
        if seen.trouble is None:
            if over := now.pop(seen.subject, None):
                changes.append(Change(seen.subject, over, over_by=seen.run_id))
        elif _is_news(seen.trouble, now.get(seen.subject)) and not _is_explained(seen.subject, seen.trouble, now):
            changes.append(Change(seen.subject, seen.trouble, is_worse=seen.subject in now))
            now[seen.subject] = seen.trouble
    return now, tuple(changes)


def newest(observed: Iterable[Observation]) -> tuple[Observation, ...]:
    """How things stand: the newest observation of each subject."""
    last = {seen.subject: seen for seen in sorted(observed, key=lambda seen: seen.at)}
    return tuple(last.values())


def _is_news(trouble: Trouble, known: Trouble | None) -> bool:
    """Whether it is told: it begins, or a warning has become an error, which other people hear of."""
    return known is None or (known.level, trouble.level) == (Level.WARN, Level.ERROR)


def _is_explained(subject: Subject, trouble: Trouble, now: Open) -> bool:
    is_suspended = any(other.kind is Kind.LANE for other in now)
    return is_suspended and subject.kind is Kind.CHECK and (subject.name, trouble.level) in FOLLOWS_FROM_SUSPENSION
