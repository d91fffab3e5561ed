"""`arrow-ingest init`: a Dagster project of one's own."""

from datetime import UTC, datetime
from pathlib import Path

import click

from arrow_ingest.cli.output import print_people
from arrow_ingest.scaffold.project_files import write_project


@click.command()
@click.argument("folder", metavar="NAME", type=click.Path(path_type=Path))
def init(folder: Path) -> None:
    """Make folder NAME: a Dagster project with one pipeline, which loads at once, uninstalled and unconfigured.

    NAME becomes the name of the package, the pipeline and the table, too. It may be a path; the last part counts.
    """
    files = write_project(folder, first_day=f"{datetime.now(UTC).year}-01-01")
    print_people(
        f"{folder} is a Dagster project:",
        *(f"  {file.relative_to(folder)}" for file in files),
        f"Next: cd {folder} && cp .env.example .env, set brokers and topic there, then: arrow-ingest inspect",
        "README.md says how to go on.",
    )
