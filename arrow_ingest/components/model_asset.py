"""A SQL model as an executable asset: one run brings the partitions that it was launched for up to date."""

import threading
from collections.abc import Iterator

import dagster as dg

from arrow_ingest.components import history
from arrow_ingest.components.background import BackgroundDrain
from arrow_ingest.components.column_lineage import COLUMN_LINEAGE, described, of_model
from arrow_ingest.components.metadata import COLUMN_SCHEMA
from arrow_ingest.components.model_checks import answer_event
from arrow_ingest.components.model_spec import ModelNames, model_spec
from arrow_ingest.components.run_log import lines_on_stderr
from arrow_ingest.components.runs import requested_partitions
from arrow_ingest.errors import ArrowIngestError, ConfigError
from arrow_ingest.lake.models.run import ModelReport, Outcome, compute
from arrow_ingest.lake.sql import in_lake
from arrow_ingest.model_settings import SqlModel

FORCE = "force"
"""The op's run config key."""

FORCE_SAYS = "Compute the run's table partitions also where nothing that they are made of has changed."


def build_model_asset(model: SqlModel) -> dg.AssetsDefinition:
    """The asset and its op. A range of partitions is one run, and one transaction."""
    names = ModelNames.of(model)

    @dg.multi_asset(
        name=names.op,
        specs=[model_spec(model)],
        backfill_policy=dg.BackfillPolicy.single_run(),
        config_schema={FORCE: dg.Field(bool, default_value=False, description=FORCE_SAYS)},
    )
    def refresh(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
        try:
            requested = requested_partitions(context)
            if not requested:
                raise ConfigError(f"model {model.name} is computed by partition: launch the run with some")
            with lines_on_stderr(model.name, context.run.run_id):
                report = _computed(model, context, requested)
        except ArrowIngestError as error:
            raise dg.Failure(str(error), metadata={"error": type(error).__name__}, allow_retries=False) from error
        if report.refusals:
            raise _refused(model, report, context)
        for outcome in report.outcomes:
            context.add_asset_metadata(metadata(model, report, outcome), names.table, outcome.value)
        yield dg.MaterializeResult(names.table)

    return refresh


def _computed(model: SqlModel, context: dg.AssetExecutionContext, requested: tuple[str, ...]) -> ModelReport:
    """What the run did, on a thread of its own: Dagster's interrupt never lands inside native code."""
    is_forced, done = context.op_execution_context.op_config[FORCE], list[ModelReport]()

    def work(stop: threading.Event) -> Iterator[None]:
        run_id = context.run.run_id
        done.append(compute(model, requested, run_id=run_id, is_forced=is_forced, stop=stop.is_set))
        yield from ()

    with BackgroundDrain(work) as nothing:
        for _ in nothing:
            pass
    return done[0]


def metadata(
    model: SqlModel, report: ModelReport, outcome: Outcome
) -> dict[str, dg.MetadataValue | dg.TableSchema | dg.TableColumnLineage | str | int | float]:
    """What is told of one partition. The UI plots numbers by key, so keys stay as they are."""
    computed = outcome.computed
    lineage = of_model([column.name for column in report.schema], report.columns, ModelNames.of(model).source)
    told: dict[str, dg.MetadataValue | dg.TableSchema | dg.TableColumnLineage | str | int | float] = {
        "why": f"{outcome.why}: {outcome.why.says}",
        "seconds": round(outcome.seconds, 3),
        "source_snapshot": computed.source_snapshot if computed else report.source_snapshot,
        "dagster/partition_row_count": computed.rows if computed else 0,
        "dagster/size_bytes": computed.size_bytes if computed else 0,
        "files": computed.files if computed else 0,
        COLUMN_SCHEMA: described(report.schema, lineage),
        COLUMN_LINEAGE: lineage,
    }
    if outcome.since is not None:
        told["source_snapshot_before"] = outcome.since
    if report.snapshot is not None and computed is not None and outcome.is_new:
        told["snapshot"] = report.snapshot
        table = in_lake(model.lake.schema_name, model.lake.table)
        told["time_travel"] = dg.MetadataValue.md(
            f"```sql\nSELECT * FROM {table} AT (VERSION => {report.snapshot});\n```"
        )
    return told


def _refused(model: SqlModel, report: ModelReport, context: dg.AssetExecutionContext) -> dg.Failure:
    """Tell the checks that failed, of rows that are nowhere; the table is as it was."""
    names = ModelNames.of(model)
    for answer in report.refusals:
        target = history.newest_materialization(context.instance, names.table, answer.value)
        context.log_event(answer_event(names.table, answer, target))
    listed = "; ".join(f"{each.check.key} of {each.value}: {each.bad_rows} rows" for each in report.refusals)
    return dg.Failure(
        f"blocking checks refuse the new rows, so nothing was committed and the table is as it was: {listed}",
        allow_retries=False,
    )
