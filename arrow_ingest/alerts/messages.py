"""Incidents that began or ended to messages: text, and links into Dagster's UI. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
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
    """What a target is sent."""

    title: str
    body: str
    tone: Tone


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
    """One message per incident; those of one check that began (ended) together, in many table partitions, are one."""

    def matter(change: Change) -> tuple[bool, Kind, str]:
        return change.over_by is not None, change.subject.kind, change.subject.name

    ordered = sorted(changes, key=matter)
    return tuple(_message(pipeline, tuple(together), links) for _, together in groupby(ordered, key=matter))


def _message(pipeline: str, together: tuple[Change, ...], links: Links) -> Message:
    first = together[0]
    what = {
        Kind.LANE: f"lane {first.subject.name} is suspended",
        Kind.RUNS: f"runs of lane {first.subject.name} fail" if first.subject.name else "a run failed",
        Kind.CHECK: f"check {first.subject.name} failed",
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
    if is_over:
        return Message(f"[{pipeline}] recovered: {what}", "\n".join(["It is over. It was:", *body]), Tone.SUCCESS)
    is_error = any(change.trouble.level is Level.ERROR for change in together)
    return Message(f"[{pipeline}] {what}", "\n".join(body), Tone.FAILURE if is_error else Tone.WARNING)


def _partitions(together: tuple[Change, ...]) -> list[str]:
    named = [change.subject.partition for change in together if change.subject.partition]
    if not named:
        return []
    more = f" and {len(named) - MAX_LISTED} more" if len(named) > MAX_LISTED else ""
    return [f"Table partitions: {', '.join(named[:MAX_LISTED])}{more}"]
