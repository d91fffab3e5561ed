"""A message to one target, through apprise: delivered, or why not. No address of a target is ever logged or shown."""

import hashlib
import logging
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import unquote

from arrow_ingest import environment
from arrow_ingest.alert_settings import Alerts
from arrow_ingest.alerts.incidents import Level
from arrow_ingest.alerts.messages import Message
from arrow_ingest.errors import MissingPart

_ONE_AT_A_TIME = threading.Lock()
"""Dagster evaluates sensors on threads, and apprise's logger is one for the process."""

MIN_SECRET_LENGTH = 4
"""Shorter parts of an address stay readable in an error's text; crossing them out would leave nothing of it."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where messages go.

    Args:
        number: its place among the pipeline's targets, from 1.
        url: apprise's address of it; holds tokens and passwords.
        level: it hears of what is at least so bad.
    """

    number: int
    url: str = field(repr=False)
    level: Level = Level.WARN

    @property
    def id(self) -> str:
        """What the target is called in a cursor. 32 bits of a hash: too few to tell a secret by."""
        return hashlib.sha256(self.url.encode()).hexdigest()[:8]

    @property
    def name(self) -> str:
        """What the target is called where people read it.

        >>> Target(2, "slack://token-a/token-b/token-c").name
        'target 2 (slack)'
        """
        scheme = re.match(r"[A-Za-z0-9+_-]+(?=://)", self.url)
        return f"target {self.number} ({scheme[0] if scheme else 'no URL'})"


def targets(urls: Iterable[str]) -> tuple[Target, ...]:
    """The targets of some addresses, each once."""
    return _numbered(dict.fromkeys(urls, Level.WARN))


def targets_of(settings: Alerts) -> tuple[Target, ...]:
    """The targets of a pipeline, as its environment variables are now; an address named twice hears of what either may.

    >>> targets_of(Alerts(targets=[{"variable": "NOT_SET_ANYWHERE"}]))
    ()
    """
    levels: dict[str, Level] = {}
    for named in settings.targets:
        level = Level(named.severity or settings.min_severity)
        for url in environment.alert_urls(named.variable):
            levels[url] = Level.WARN if Level.WARN in (level, levels.get(url)) else level
    return _numbered(levels)


def _numbered(levels: Mapping[str, Level]) -> tuple[Target, ...]:
    return tuple(Target(number, url, level) for number, (url, level) in enumerate(levels.items(), start=1))


def send(target: Target, message: Message) -> str | None:
    """Send a message; None once the target has it, otherwise why it has not.

    Raises:
        MissingPart: apprise is not installed.
    """
    try:
        import apprise
    except ImportError as error:
        raise MissingPart("alerts need apprise: pip install 'arrow-ingest[alerts]'") from error

    with _ONE_AT_A_TIME, _captured() as said:
        service = apprise.Apprise.instantiate(target.url)
        if service is None:
            return "not an address that apprise understands"
        is_delivered = service.notify(
            body=message.body, title=message.title, notify_type=apprise.NotifyType(message.tone.value)
        )
    return None if is_delivered else redacted("; ".join(said) or "not delivered", target.url)


def redacted(text: str, url: str) -> str:
    """An error's text without any part of the address.

    >>> redacted("hooks.example refused T0KEN 1", "jsons://user:password@hooks.example/T0KEN%201")
    '… refused …'
    """
    written = re.split(r"[/:@?&=,;\s]+", url)
    for part in sorted({*written, *map(unquote, written)}, key=len, reverse=True):
        if len(part) >= MIN_SECRET_LENGTH:
            text = text.replace(part, "…")
    return text


class _Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@contextmanager
def _captured() -> Iterator[list[str]]:
    """Keep apprise's log lines to ourselves: at the level DEBUG, and for addresses it refuses, they hold secrets."""
    logger, handler = logging.getLogger("apprise"), _Lines()
    before = logger.propagate, logger.handlers, logger.level
    logger.propagate, logger.handlers = False, [handler]
    logger.setLevel(logging.WARNING)
    try:
        yield handler.lines
    finally:
        logger.propagate, logger.handlers = before[:2]
        logger.setLevel(before[2])
