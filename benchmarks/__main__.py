"""`python -m benchmarks run` measures and keeps the results; `python -m benchmarks report` shows them as Markdown."""

import tempfile
import time
from pathlib import Path

import click

from arrow_ingest import environment
from benchmarks.plan import FULL, ON_DEMAND, SCENARIOS, SHORT


@click.group()
def main() -> None:
    """Measure arrow_ingest against its limits and against what one would use instead."""


@main.command()
@click.option("--full", is_flag=True, help="2 million rows and everything that grows; an hour or two.")
@click.option("--rows", type=click.IntRange(min=1_000), help="Rows of throughput, over the plan's.")
@click.option(
    "--only",
    type=click.Choice((*SCENARIOS, *ON_DEMAND)),
    multiple=True,
    help="Leave the other scenarios' results as they are.",
)
@click.option("--dir", "folder", type=click.Path(path_type=Path), help="For lakes and logs. Default: a temporary one.")
def run(*, full: bool, rows: int | None, only: tuple[str, ...], folder: Path | None) -> None:
    """Measure, write benchmarks/results/latest.json, print the tables."""
    from dataclasses import replace

    from benchmarks import report, results
    from benchmarks.scenarios import SCENARIOS as RUNNERS

    plan = FULL if full else SHORT
    plan = replace(plan, rows=rows) if rows else plan
    found = results.read() if only and results.LATEST.exists() else {}
    found |= results.header(plan.name)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="arrow-ingest-bench-", dir=folder) as home:
        for name in only or SCENARIOS:
            found[name] = RUNNERS[name](plan, Path(home))
            found["seconds"] = round(time.monotonic() - began, 1)
            results.write(found)
    click.echo(report.markdown(found))
    click.echo(f"{found['seconds']:.0f} s; {results.LATEST}")


@main.command("report")
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
def show(file: Path | None) -> None:
    """Print the tables of FILE, by default of the latest run."""
    from benchmarks import report, results

    click.echo(report.markdown(results.read(file or results.LATEST)))


@main.command("publish")
def publish() -> None:
    """Put the tables of the latest run into README.md and docs/PERFORMANCE.md, between their markers."""
    from benchmarks import report, results
    from benchmarks.pages import replaced

    found = results.read()
    for page, text in (("README.md", report.headline(found)), ("docs/PERFORMANCE.md", report.markdown(found))):
        file = results.FOLDER.parent.parent / page
        file.write_text(replaced(file.read_text(), text))
        click.echo(f"wrote {page}")


if __name__ == "__main__":
    environment.prepare()
    main()
