"""What the process's exit code says, and which one an error gets: the only place that decides it."""

import logging
from enum import IntEnum

import click

from arrow_ingest.errors import (
    ArrowIngestError,
    ConfigError,
    LakeMismatch,
    LaneFenced,
    LaneSuspended,
    LayoutMismatch,
    MissingPart,
    OutcomeUnknown,
    StatementRefused,
    TransientError,
)
from arrow_ingest.log_lines import are_json

log = logging.getLogger(__name__)


class Exit(IntEnum):
    """Exit codes; of several findings in one command the highest counts."""

    OK = 0
    FINDING = 1
    USAGE = 2
    UNREACHABLE = 3
    SUSPENDED = 4


def exit_code(error: ArrowIngestError) -> Exit:
    """The exit code of an error: 3 where the same command may work later, 2 where the settings have to change first.

    >>> exit_code(ConfigError("no"))
    <Exit.USAGE: 2>
    """
    match error:
        case LaneSuspended():
            return Exit.SUSPENDED
        case TransientError() | OutcomeUnknown() | LaneFenced():
            return Exit.UNREACHABLE
        case ConfigError() | MissingPart() | LakeMismatch() | LayoutMismatch() | StatementRefused():
            return Exit.USAGE
        case _:
            return Exit.FINDING


def reported(error: ArrowIngestError) -> Exit:
    """Say the error in one sentence on stderr (its traceback only under `--verbose`); return its exit code."""
    log.debug("raised at", exc_info=error)
    if are_json():
        log.error("%s", error)
        return exit_code(error)
    click.echo(f"{click.style('error:', fg='red', bold=True)} {error}", err=True)
    if isinstance(error, LaneSuspended):
        click.echo(f"{error.reason.remedy}.", err=True)
    return exit_code(error)
