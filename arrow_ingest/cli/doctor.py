"""`arrow-ingest doctor`: what keeps a pipeline from running, and what to do about it."""

from collections.abc import Iterable, Iterator

import click
from rich.console import RenderableType

from arrow_ingest.cli.diagnosis import Check, Status, check_installation, check_pipeline
from arrow_ingest.cli.options import Common, common
from arrow_ingest.cli.output import print_json, print_people, table


@click.command()
@click.argument("pipelines", nargs=-1, metavar="[PIPELINE]...")
@common
def doctor(options: Common, pipelines: tuple[str, ...]) -> None:
    """Try what a run needs: broker, topic, rights, librdkafka, DuckDB extensions, catalog, data path.

    Every failure names the setting and what to do. Nothing is changed or left behind, save on S3 one object of five
    bytes, .arrow-ingest-probe below the data path: a key that ingests need not be allowed to delete. Exits with 0 when
    all is well, else with the code that a run would end with (see `arrow-ingest --help`).
    """
    checks = [*check_installation()]
    for config in options.pipelines(pipelines):
        checks += check_pipeline(config)
    if options.as_json:
        is_ok = all(check.status is not Status.FAILED for check in checks)
        print_json({"ok": is_ok, "checks": [check.document() for check in checks]})
    else:
        print_people(*_sentences(checks))
    click.get_current_context().exit(max(check.exit for check in checks))


def _sentences(checks: Iterable[Check]) -> Iterator[RenderableType]:
    checks = list(checks)
    rows = [(check.pipeline, check.name, check.status, check.detail) for check in checks]
    yield table(["pipeline", "check", "status", "detail"], rows)
    for check in checks:
        if check.status is Status.FAILED:
            setting = f" ({check.setting})" if check.setting else ""
            yield f"{check.pipeline or 'installation'}, {check.name}{setting}: {check.advice}."
