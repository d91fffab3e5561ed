"""What `verify` says: findings by code and severity, and the report that holds them."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """ERROR: something is lost, twice or untrue. WARNING: somebody else's doing; only a strict verification fails."""

    ERROR = "error"
    WARNING = "warning"


class Code(StrEnum):
    """What was found; scripts read these, so they are never renamed."""

    LEDGER_GAP = "ledger_gap"
    LEDGER_OVERLAP = "ledger_overlap"
    OFFSET_MOVED = "offset_moved"
    TOPIC_ID_DIFFERS = "topic_id_differs"
    OFFSETS_GIVEN_UP = "offsets_given_up"
    BEYOND_LOG = "beyond_log"
    LOG_TRUNCATED = "log_truncated"
    TOPIC_RECREATED = "topic_recreated"
    MESSAGES_MISCOUNTED = "messages_miscounted"
    ROWS_MISSING = "rows_missing"
    ROWS_UNEXPECTED = "rows_unexpected"
    ROWS_DELETED = "rows_deleted"
    ROWS_ADDED = "rows_added"
    DUPLICATE_ROWS = "duplicate_rows"
    ROW_NUMBERS = "row_numbers"
    DEAD_LETTERS_MISCOUNTED = "dead_letters_miscounted"
    DEAD_AND_ALIVE = "dead_and_alive"
    FILE_MISSING = "file_missing"
    FILE_UNREADABLE = "file_unreadable"
    FILE_DIFFERS = "file_differs"


_WARNINGS = frozenset({Code.OFFSETS_GIVEN_UP, Code.TOPIC_RECREATED, Code.ROWS_DELETED, Code.ROWS_ADDED})
"""Somebody's decision, which leaves true what the lake says of the log that it read."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be, with the offsets, commit or file that it is about."""

    code: Code
    detail: str

    @property
    def severity(self) -> Severity:
        """How bad it is, which the code alone decides."""
        return Severity.WARNING if self.code in _WARNINGS else Severity.ERROR


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """The outcome of a verification.

    Args:
        ok: no error was found; if strict, nothing at all.
        numbers: what was looked at: ``snapshot`` (hand it to ``since`` to go on from here), ``commits``, ``messages``,
            ``rows``, ``empty``, ``dead_letters``, ``replayed`` (no longer dead), ``files``, ``bytes``.
    """

    ok: bool
    findings: tuple[Finding, ...]
    numbers: Mapping[str, int]
