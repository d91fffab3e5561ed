"""What the demo shows while it runs: a table that is redrawn on a terminal, a line now and then elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.live import Live
from rich.table import Table

TABLE_SECONDS = 1.0
LINE_SECONDS = 5.0
"""How often the table is redrawn, and how often a line is written where there is no terminal."""


@dataclass(frozen=True, slots=True)
class Scene:
    """One moment of the demo. ``rows_per_second`` is of the last few seconds."""

    phase: str
    produced_rows: int
    committed_rows: int
    lag: int
    rows_per_second: float
    files: int
    last_snapshot: int | None
    address: str

    def line(self) -> str:
        """The moment in one line."""
        return (
            f"{self.phase}: produced={self.produced_rows:,} committed={self.committed_rows:,} lag={self.lag:,} "
            f"rows/s={self.rows_per_second:,.0f} files={self.files} snapshot={self.last_snapshot or '-'} {self.address}"
        )

    def table(self) -> Table:
        """The moment as a table."""
        grid = Table(title="arrow-ingest demo: Kafka → DuckLake under Dagster", title_justify="left", show_header=False)
        grid.add_column(style="bold")
        grid.add_column(justify="right")
        grid.add_row("state", self.phase)
        grid.add_row("rows produced", f"{self.produced_rows:,}")
        grid.add_row("rows committed", f"{self.committed_rows:,}")
        grid.add_row("lag (messages)", f"{self.lag:,}")
        grid.add_row("rows/s committed", f"{self.rows_per_second:,.0f}")
        grid.add_row("Parquet files", f"{self.files:,}")
        grid.add_row("last snapshot", "-" if self.last_snapshot is None else str(self.last_snapshot))
        grid.add_row("Dagster", self.address)
        grid.caption = "Ctrl-C stops, verifies and sums up"
        return grid


class View:
    """Shows scenes on stderr, so that stdout holds the report alone."""

    def __init__(self, console: Console, live: Live | None) -> None:
        self._console = console
        self._live = live
        self._line_at = 0.0

    @property
    def show_seconds(self) -> float:
        """How often it is worth to look for a new scene."""
        return LINE_SECONDS if self._live is None else TABLE_SECONDS

    def show(self, scene: Scene) -> None:
        """Redraw the table; without a terminal, write a line every `LINE_SECONDS`."""
        if self._live is not None:
            self._live.update(scene.table())
        elif time.monotonic() - self._line_at >= LINE_SECONDS:
            self._line_at = time.monotonic()
            self._console.print(scene.line())

    def say(self, sentence: str) -> None:
        """One line that stays."""
        self._console.print(sentence)


@contextmanager
def viewing() -> Iterator[View]:
    """A view on stderr for the block."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    if not console.is_terminal:
        yield View(console, None)
        return
    with Live(console=console, refresh_per_second=4) as live:
        yield View(console, live)
