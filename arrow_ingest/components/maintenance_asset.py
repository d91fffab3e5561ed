"""Maintenance as an asset of its own: one run tidies one pipeline's lake, and its numbers are plotted over time."""

import dataclasses
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from arrow_ingest.components import history
from arrow_ingest.components.check_events import evaluation
from arrow_ingest.components.ledger_view import read_view
from arrow_ingest.components.names import MAINTENANCE_TAG, Check, Names
from arrow_ingest.components.run_history import forget_runs
from arrow_ingest.components.run_log import lines_on_stderr
from arrow_ingest.components.table_spec import declared_partitions
from arrow_ingest.components.verdicts import small_files
from arrow_ingest.config import PipelineConfig
from arrow_ingest.errors import ArrowIngestError, ConfigError, MaintenanceBusy, NothingToMaintain
from arrow_ingest.lake.maintenance.report import MaintenanceReport, Outcome
from arrow_ingest.lake.maintenance.run import maintain
from arrow_ingest.maintenance_settings import Step

MARGIN_SECONDS = 900
"""What a run may take beyond its own limits, for the transaction that it is in; then Dagster's monitor ends it."""

BUSY_RETRIES = 12
BUSY_SECONDS = 30
"""How often, and after how long, a run is tried again that waited in vain for another pipeline's maintenance of the
lake: their schedules start them all at the same time."""


class MaintenanceRun(dg.Config):
    """What can be said in the launchpad.

    Args:
        dry_run: say what would be done, and do nothing.
        only: names of steps; empty: those of the YAML.
    """

    dry_run: bool = False
    only: list[str] = []  # noqa: RUF012  Dagster copies defaults


def build_maintenance_asset(pipeline: PipelineConfig) -> dg.AssetsDefinition:
    """The asset: a materialisation per maintenance, an observation per dry run."""
    names, lake = Names.of(pipeline), pipeline.lake
    spec = dg.AssetSpec(
        names.maintenance,
        skippable=True,
        kinds={"ducklake"},
        group_name=names.group,
        description=f"Files, snapshots and ledger of `{lake.schema_name}.{lake.table}`, tidied up.",
    )

    @dg.multi_asset(name=names.maintenance_op, specs=[spec])
    def maintenance(context: dg.AssetExecutionContext, config: MaintenanceRun) -> Iterator[dg.MaterializeResult[None]]:
        report = _maintained(pipeline, context, config)
        if report is None:
            return
        numbers = {**metadata(report), **_forgotten_runs(pipeline, context, is_dry_run=report.is_dry_run)}
        if report.is_dry_run:
            context.log_event(dg.AssetObservation(names.maintenance, metadata=numbers))
        else:
            _tell_small_files(pipeline, context)
            yield dg.MaterializeResult(names.maintenance, metadata=numbers)
        if failed := [f"{step.step}: {step.says}" for step in report.steps if step.outcome is Outcome.FAILED]:
            raise dg.Failure("\n".join(failed), allow_retries=False)

    return maintenance


def build_maintenance_job(config: PipelineConfig) -> UnresolvedAssetJobDefinition:
    """The job that the schedule starts, in the run's own process."""
    names, settings = Names.of(config), config.maintenance
    turns = (1 + BUSY_RETRIES) * (settings.lock_wait_seconds + BUSY_SECONDS)
    longest = turns + settings.max_seconds + settings.lock_wait_seconds + MARGIN_SECONDS
    return dg.define_asset_job(
        names.maintenance_job,
        selection=dg.AssetSelection.assets(names.maintenance),
        executor_def=dg.in_process_executor,
        tags={MAINTENANCE_TAG: config.name, "dagster/max_runtime": str(int(longest))},
        description=f"Tidies up the lake of {config.name}: {', '.join(settings.steps)}.",
    )


def build_maintenance_schedule(config: PipelineConfig) -> dg.ScheduleDefinition:
    """The schedule of `maintenance.schedule`, on by default.

    Raises:
        ConfigError: Dagster does not take the expression.
    """
    names, cron = Names.of(config), config.maintenance.schedule
    try:
        return dg.ScheduleDefinition(
            name=names.maintenance_schedule,
            cron_schedule=cron,
            job_name=names.maintenance_job,
            execution_timezone="UTC",
            default_status=dg.DefaultScheduleStatus.RUNNING,
            description=f"Tidies up the lake of {config.name}.",
        )
    except dg.DagsterInvalidDefinitionError as error:
        raise ConfigError(f"{config.name}: Dagster does not take {cron!r}", key="maintenance.schedule") from error


def metadata(report: MaintenanceReport) -> dict[str, int | dg.MetadataValue]:
    """Numbers under stable keys, which the UI plots, and the steps as a table."""
    before, after = (dataclasses.asdict(census) for census in (report.before, report.after))
    numbers: dict[str, int | dg.MetadataValue] = {"milliseconds": round(1000 * report.seconds)}
    for name in before:
        numbers[f"{name}_before"], numbers[f"{name}_after"] = before[name], after[name]
    for step in report.steps:
        numbers |= {f"{step.step}/{name}": count for name, count in step.numbers.items()}
        numbers[f"{step.step}/milliseconds"] = step.milliseconds
    rows = [
        dg.TableRecord(
            {
                "step": step.step.value,
                "outcome": step.outcome.value,
                "says": step.says,
                **step.changes,
                "milliseconds": step.milliseconds,
            }
        )
        for step in report.steps
    ]
    return {**numbers, "steps": dg.MetadataValue.table(rows)}


def _maintained(
    config: PipelineConfig, context: dg.AssetExecutionContext, run: MaintenanceRun
) -> MaintenanceReport | None:
    """The report; None: there is nothing to maintain yet.

    Raises:
        RetryRequested: another maintenance of the lake is under way.
        Failure: it cannot be done.
    """
    try:
        only = [Step(name) for name in run.only] or None
    except ValueError as error:
        raise dg.Failure(f"{error}; the steps are {', '.join(Step)}", allow_retries=False) from error
    try:
        with lines_on_stderr(config.name, context.run.run_id):
            return maintain(config, run_id=context.run.run_id, now=datetime.now(UTC), only=only, is_dry_run=run.dry_run)
    except NothingToMaintain as nothing:
        context.log.info(str(nothing))
        return None
    except MaintenanceBusy as busy:
        raise dg.RetryRequested(max_retries=BUSY_RETRIES, seconds_to_wait=BUSY_SECONDS) from busy
    except ArrowIngestError as error:
        raise dg.Failure(str(error), metadata={"error": type(error).__name__}, allow_retries=False) from error


def _forgotten_runs(
    config: PipelineConfig, context: dg.AssetExecutionContext, *, is_dry_run: bool
) -> dict[str, int | dg.MetadataValue]:
    """Delete old runs from Dagster; how many were, and how many stay for what they hold."""
    keep_days = config.maintenance.runs.keep_days
    if keep_days is None:
        return {}
    found = forget_runs(
        context.instance,
        Names.of(config),
        before=datetime.now(UTC) - timedelta(days=keep_days),
        deadline=time.monotonic() + config.maintenance.max_seconds,
        is_dry_run=is_dry_run,
    )
    return {"runs/deleted": found.deleted, "runs/kept_for_their_newest": found.kept}


def _tell_small_files(config: PipelineConfig, context: dg.AssetExecutionContext) -> None:
    """Answer the check anew for every table partition that it warned of: nothing else may publish those for long."""
    names, view, now = Names.of(config), read_view(config), datetime.now(UTC)
    known = declared_partitions(config, view.files) & view.files.keys()
    warned = history.failed_partitions(context.instance, names.table, Check.SMALL_FILES)
    for value in sorted(known & warned, key=str):
        target = history.newest_materialization(context.instance, names.table, value)
        context.log_event(evaluation(names.table, small_files(config, value, view.files, now), target))
