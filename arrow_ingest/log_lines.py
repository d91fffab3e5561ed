"""Log records in, lines out: text, or one JSON object each, with the run, lane and snapshot that they are about.

Who begins something binds what it is about (`about`); a thread that goes on with it takes that along
(`contextvars.copy_context`). A line holds what its text says and these fields, nothing else: no payload, no setting.
"""

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

FIELDS = ("pipeline", "run_id", "lane", "snapshot_id")
"""What a line may be about; also as ``extra=`` of one line."""

_about: ContextVar[Mapping[str, str | int]] = ContextVar("arrow_ingest_log_about")


@contextmanager
def about(**fields: str | int) -> Iterator[None]:
    """Within the block, lines are about this, and about what was bound around it.

    >>> with about(run_id="a"), about(lane=0):
    ...     bound()
    {'run_id': 'a', 'lane': 0}
    """
    if unknown := sorted(set(fields) - set(FIELDS)):
        raise ValueError(f"no line is about {', '.join(unknown)}")
    token = _about.set({**bound(), **fields})
    try:
        yield
    finally:
        _about.reset(token)


def bound() -> Mapping[str, str | int]:
    """What lines are about here."""
    return _about.get({})


class JsonLines(logging.Formatter):
    """One JSON object a record: time (UTC), level, logger, message, the fields that are known, and a traceback.

    >>> record = logging.LogRecord("arrow_ingest.x", logging.INFO, "", 0, "%d rows", (5,), None)
    >>> line = json.loads(JsonLines().format(record))
    >>> line["level"], line["logger"], line["message"]
    ('info', 'arrow_ingest.x', '5 rows')
    """

    def format(self, record: logging.LogRecord) -> str:
        """As one line."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **bound(),
        }
        line |= {name: value for name in FIELDS if (value := getattr(record, name, None)) is not None}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def are_json() -> bool:
    """Whether this process writes its log as JSON."""
    return any(isinstance(handler.formatter, JsonLines) for handler in logging.getLogger().handlers)


def formatter(text_format: str, *, as_json: bool) -> logging.Formatter:
    """The lines that were asked for."""
    return JsonLines() if as_json else logging.Formatter(text_format)
