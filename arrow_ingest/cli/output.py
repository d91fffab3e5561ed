"""Results on stdout, as JSON or as tables for people; log lines and progress on stderr."""

import dataclasses
import json
import logging
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from enum import Enum
from typing import Any

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.table import Table

PIPED_WIDTH = 240
"""Columns of a table that does not go to a terminal; rich would cut cells at 80."""


def error_console() -> Console:
    """A console on what is stderr now."""
    return Console(stderr=True, highlight=False)


class ConsoleHandler(logging.Handler):
    """Log lines on stderr. rich's live displays replace ``sys.stderr``, and lines written to it appear above them."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line to what is stderr now."""
        print(self.format(record), file=sys.stderr)  # noqa: T201 - the one way out for log lines


def print_json(document: object) -> None:
    """One JSON document on stdout."""
    click.echo(json.dumps(document, default=plain, indent=2, ensure_ascii=False))


def print_people(*parts: RenderableType) -> None:
    """Sentences and tables on stdout; sentences are left to the terminal to wrap."""
    width = None if sys.stdout.isatty() else PIPED_WIDTH
    console = Console(highlight=False, width=width)
    for part in parts:
        console.print(part, markup=False, soft_wrap=isinstance(part, str))


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None) -> Table:
    """A table of values as :func:`cell` writes them; columns that hold numbers only are aligned to the right."""
    rows = [tuple(row) for row in rows]
    grid = Table(box=SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False)
    for index, column in enumerate(columns):
        is_numeric = bool(rows) and all(isinstance(row[index], int | float | None) for row in rows)
        grid.add_column(column, justify="right" if is_numeric else "left", overflow="fold")
    for row in rows:
        grid.add_row(*(cell(value) for value in row))
    return grid


def cell(value: object) -> str:
    """A value as a person reads it.

    >>> cell(1234567), cell(None), cell({"a": 1}), cell(True)
    ('1,234,567', '', '{"a": 1}', 'true')
    """
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case int():
            return f"{value:,}"
        case datetime():
            return value.isoformat(sep=" ", timespec="milliseconds").replace("+00:00", "Z")
        case Mapping() | list() | tuple():
            return json.dumps(value, default=plain, ensure_ascii=False)
        case _:
            return str(value)


def plain(value: object) -> Any:
    """A value that JSON has no form for, as one that it has.

    >>> plain(date(2026, 11, 4)), plain(b"ab"), plain({2, 1})
    ('2026-11-04', '6162', [1, 2])
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    match value:
        case date():
            return value.isoformat()
        case Enum():
            return value.value
        case bytes():
            return value.hex()
        case Mapping():
            return dict(value)
        case set() | frozenset():
            return sorted(value)
        case _:
            return str(value)
