"""A progress bar on stderr, where there is a terminal to show it on."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from arrow_ingest.cli.output import error_console


@contextmanager
def counting(description: str, total: Callable[[], int | None]) -> Iterator[Callable[[int], None]]:
    """A bar that the yielded function advances. Without a terminal nothing is shown, and ``total`` is not asked for."""
    console = error_console()
    if not console.is_terminal:
        yield _ignore
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(description, total=total())
        yield lambda count: progress.advance(task, count)


def _ignore(count: int) -> None:
    """Nothing to show."""
