"""`arrow-ingest maintain`: what Dagster's schedule does, here and now, or what it would do."""

import dataclasses
from collections.abc import Iterator
from datetime import UTC, datetime

import click
from rich.console import RenderableType

from arrow_ingest.cli.exits import Exit
from arrow_ingest.cli.options import Common, common
from arrow_ingest.cli.output import print_json, print_people, table
from arrow_ingest.cli.runs import new_run_id
from arrow_ingest.config import PipelineConfig
from arrow_ingest.lake.maintenance.report import MaintenanceReport
from arrow_ingest.lake.maintenance.run import maintain as tidy
from arrow_ingest.log_lines import about
from arrow_ingest.maintenance_settings import Step


def steps_of(ctx: click.Context | None, param: click.Parameter | None, given: str | None) -> tuple[Step, ...] | None:
    """Names by comma as steps; None: those of the YAML.

    >>> steps_of(None, None, "expire,merge")
    (<Step.MERGE: 'merge'>, <Step.EXPIRE: 'expire'>)
    """
    if given is None:
        return None
    names = {name.strip() for name in given.split(",")}
    if unknown := sorted(names - set(Step)):
        raise click.BadParameter(f"there is no step {unknown[0]!r}, only {', '.join(Step)}", ctx, param)
    return tuple(step for step in Step if step in names)


@click.command()
@click.argument("pipelines", nargs=-1, metavar="[PIPELINE]...")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option(
    "--only",
    callback=steps_of,
    metavar="STEP,...",
    help=f"Do these steps: {', '.join(Step)}. Default: as the YAML says.",
)
@common
def maintain(options: Common, pipelines: tuple[str, ...], *, dry_run: bool, only: tuple[Step, ...] | None) -> None:
    """Tidy up the lake of PIPELINE, beside the lanes that ingest.

    Small files are merged, files with deleted rows written again, old snapshots expired, files that nothing refers to
    removed, and arrow_ingest's own tables kept small. Rows, offsets and kept snapshots stay as they are. Exits with 1
    when a step failed.
    """
    reports = [_tidied(config, only, is_dry_run=dry_run) for config in options.pipelines(pipelines)]
    if options.as_json:
        print_json([document(report) for report in reports])
    else:
        print_people(*(part for report in reports for part in _sentences(report)))
    is_ok = all(report.ok for report in reports)
    click.get_current_context().exit(Exit.OK if is_ok else Exit.FINDING)


def _tidied(config: PipelineConfig, only: tuple[Step, ...] | None, *, is_dry_run: bool) -> MaintenanceReport:
    run_id = new_run_id()
    with about(pipeline=config.name, run_id=run_id):
        return tidy(config, run_id=run_id, now=datetime.now(UTC), only=only, is_dry_run=is_dry_run)


def document(report: MaintenanceReport) -> dict[str, object]:
    """What `--json` shows."""
    return {
        "pipeline": report.pipeline,
        "dry_run": report.is_dry_run,
        "ok": report.ok,
        "before": report.before,
        "after": report.after,
        "milliseconds": round(1000 * report.seconds),
        "steps": [
            {
                "step": step.step,
                "outcome": step.outcome,
                "says": step.says,
                **step.numbers,
                "before": step.before,
                "after": step.after,
                "milliseconds": step.milliseconds,
            }
            for step in report.steps
        ],
    }


def _sentences(report: MaintenanceReport) -> Iterator[RenderableType]:
    yield f"{report.pipeline}: {'dry run, nothing was changed' if report.is_dry_run else 'maintained'}"
    yield table(
        ["step", "outcome", "says", "files", "bytes", "snapshots", "milliseconds"],
        [(step.step, step.outcome, step.says, *step.changes.values(), step.milliseconds) for step in report.steps],
    )
    names = [field.name for field in dataclasses.fields(report.before)]
    yield table(
        ["", *(name.replace("_", " ") for name in names)],
        [
            ("before", *(getattr(report.before, name) for name in names)),
            ("after", *(getattr(report.after, name) for name in names)),
        ],
    )
