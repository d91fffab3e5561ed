"""Incidents that began or ended to messages: text, and links into Dagster's UI. Pure."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import quote

from arrow_ingest.alerts.incidents import Change, Kind, Level

MAX_LISTED = 10
"""Table partitions that one message names."""

MAX_SAYS = 600
"""Characters of an error's text: enough for a sentence, and within what short-message services take."""


class Tone(StrEnum):
    """How a target shows a message; the values are apprise's notification types."""

    INFO = "info"
    WARNING = "warning"
    FAILURE = "failure"
    SUCCESS = "success"


@dataclass(frozen=True, slots=True)
class Message:
    """What a target is sent.

    Args:
        level: of the incident that it tells of, be it over.
        count: how many messages it stands for.
    """

    title: str
    body: str
    tone: Tone
    level: Level = Level.ERROR
    count: int = 1


@dataclass(frozen=True, slots=True)
class Links:
    """Addresses in Dagster's UI.

    Args:
        base_url: where the UI is.
        asset: path of the table's asset key.
    """

    base_url: str
    asset: tuple[str, ...]

    def run(self, run_id: str) -> str:
        """A run's page."""
        return f"{self.base_url.rstrip('/')}/runs/{run_id}"

    def table(self, check: str = "") -> str:
        """The table's page, or that of one of its checks.

        >>> Links("http://127.0.0.1:3000/", ("lake", "main", "events")).table("lag")
        'http://127.0.0.1:3000/assets/lake/main/events?view=checks&checkDetail=lag'
        """
        page = "/".join([self.base_url.rstrip("/"), "assets", *(quote(part, safe="") for part in self.asset)])
        return f"{page}?view=checks&checkDetail={quote(check)}" if check else page


def messages(pipeline: str, changes: Iterable[Change], links: Links) -> tuple[Message, ...]:
    """One message per incident; those of one check that began (ended) together, in many table partitions, are one.

    In the order in which they happened: what is told last of a matter is how it stands.
    """
    groups: list[list[Change]] = []
    newest: dict[tuple[Kind, str], list[Change]] = {}
    for change in changes:
        matter = change.subject.kind, change.subject.name
        together = newest.get(matter)
        if together is None or (together[0].over_by is None) != (change.over_by is None):
            together = newest[matter] = []
            groups.append(together)
        together.append(change)
    return tuple(_message(pipeline, tuple(together), links) for together in groups)


def _message(pipeline: str, together: tuple[Change, ...], links: Links) -> Message:
    first = together[0]
    what = {
        Kind.LANE: f"lane {first.subject.name} is suspended",
        Kind.RUNS: f"runs of lane {first.subject.name} fail" if first.subject.name else "a run failed",
        Kind.CHECK: f"check {first.subject.name} failed",
        Kind.STALE: f"lane {first.subject.name} is stale",
        Kind.TICKS: f"{first.subject.name} fails",
    }[first.subject.kind]
    is_over = first.over_by is not None
    check = first.subject.name if first.subject.kind is Kind.CHECK else ""
    run_id = first.over_by or first.trouble.run_id
    body = [
        *_partitions(together),
        first.trouble.says[:MAX_SAYS],
        *([f"Run: {links.run(run_id)}"] if run_id else []),  # a check may have been told outside of runs
        f"Table: {links.table(check)}",
    ]
    level = Level.ERROR if any(change.trouble.level is Level.ERROR for change in together) else Level.WARN
    if is_over:
        over = "\n".join(["It is over. It was:", *body])
        return Message(f"[{pipeline}] recovered: {what}", over, Tone.SUCCESS, level)
    tone = Tone.FAILURE if level is Level.ERROR else Tone.WARNING
    return Message(f"[{pipeline}] {what}", "\n".join(body), tone, level)


def digest(messages: Sequence[Message]) -> Message:
    """One message that stands for several: their titles, and how many there are beyond those that it lists.

    >>> told = digest([Message(f"[p] check {n} failed", "", Tone.WARNING, Level.WARN) for n in range(12)])
    >>> told.title, told.count, told.body.splitlines()[-1]
    ('12 messages: [p] check 0 failed and 11 more', 12, 'and 2 more')
    """
    count = sum(message.count for message in messages)
    listed = messages[:MAX_LISTED]
    more = count - sum(message.count for message in listed)
    body = [message.title for message in listed] + ([f"and {more} more"] if more else [])
    levels, tones = {message.level for message in messages}, {message.tone for message in messages}
    worst = next(tone for tone in (Tone.FAILURE, Tone.WARNING, Tone.SUCCESS, Tone.INFO) if tone in tones)
    first = re.sub(r"^\d+ messages: | and \d+ more$", "", messages[0].title)
    title = f"{count} messages: {first} and {count - 1} more"
    return Message(title, "\n".join(body), worst, Level.ERROR if Level.ERROR in levels else Level.WARN, count)


def _partitions(together: tuple[Change, ...]) -> list[str]:
    named = [change.subject.partition for change in together if change.subject.partition]
    if not named:
        return []
    more = f" and {len(named) - MAX_LISTED} more" if len(named) > MAX_LISTED else ""
    return [f"Table partitions: {', '.join(named[:MAX_LISTED])}{more}"]
