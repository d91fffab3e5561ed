"""The checks as a person runs them from the UI: a run of their own, the lake read-only, no lane's lock.

The drain's publisher answers the same checks by the same functions, right after each materialisation.
"""

import warnings
from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg

from arrow_ingest.components import history
from arrow_ingest.components.check_events import evaluation
from arrow_ingest.components.evidence import evidence_of
from arrow_ingest.components.ledger_view import LedgerView, read_view
from arrow_ingest.components.names import PARTITION_CHECKS, PIPELINE_CHECKS, Check, Names
from arrow_ingest.components.table_spec import declared_partitions, partitions_def
from arrow_ingest.components.verdicts import Verdict, late_rows, pipeline_verdicts, rows_accounted_for, small_files
from arrow_ingest.config import PipelineConfig

DESCRIPTIONS = {
    Check.OFFSETS_CONTIGUOUS: "Offset ranges join up and end at the stored offsets; rows + dead letters = messages.",
    Check.NOT_SUSPENDED: "No lane waits for an operator.",
    Check.DEAD_LETTERS: "No dead letter waits for a replay or to be given up; over the budget it is an error.",
    Check.LAG: "The lake is not far behind the log.",
    Check.FRESHNESS: "What waits in the topic is being committed.",
    Check.SCHEMA_DRIFT: "Producers send the columns that the table already had.",
    Check.OUT_OF_RANGE_DAYS: "All rows lie in table partitions that Dagster knows.",
    Check.ROWS_ACCOUNTED_FOR: "Rows in the table partition = rows that the ledger put there.",
    Check.LATE_ROWS: "No row came long after the table partition had ended.",
    Check.SMALL_FILES: "The table partition has few files that want merging, once its time is over.",
}


def build_pipeline_checks(config: PipelineConfig) -> dg.AssetChecksDefinition:
    """The checks that look at the pipeline as a whole, each executable alone. They see the whole ledger."""
    names = Names.of(config)
    specs = [
        dg.AssetCheckSpec(str(check), asset=names.table, description=DESCRIPTIONS[check]) for check in PIPELINE_CHECKS
    ]

    @dg.multi_asset_check(name=names.checks_op, specs=specs, can_subset=True)
    def check_pipeline(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckEvaluation]:
        shown = history.published(context.instance, names.table).columns
        evidence = evidence_of(config, read_view(config), shown)
        selected = {key.name for key in context.selected_asset_check_keys}
        target = history.newest_materialization(context.instance, names.table, None)
        for verdict in pipeline_verdicts(config, evidence):
            if verdict.check in selected:
                yield evaluation(names.table, verdict, target)

    return check_pipeline


def build_partition_checks(config: PipelineConfig) -> dg.AssetChecksDefinition:
    """The checks of single table partitions: those that the run was launched for, all declared ones without any."""
    names = Names.of(config)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)  # partitioned checks; the badges' test pins what we rely on
        specs = [
            dg.AssetCheckSpec(
                str(check),
                asset=names.table,
                description=DESCRIPTIONS[check],
                partitions_def=partitions_def(config),
            )
            for check in PARTITION_CHECKS
        ]

    @dg.multi_asset_check(name=names.partition_checks_op, specs=specs, can_subset=True)
    def check_partitions(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckEvaluation]:
        selected = {key.name for key in context.selected_asset_check_keys}
        is_partitioned_run = context.has_partition_key or context.has_partition_key_range
        view = read_view(config)
        known = {*view.totals, *view.table_rows}
        known &= declared_partitions(config, known)
        for value in context.partition_keys if is_partitioned_run else sorted(known, key=str):
            target = history.newest_materialization(context.instance, names.table, value)
            for verdict in partition_verdicts(config, view, value):
                if verdict.check in selected:
                    yield evaluation(names.table, verdict, target)

    return check_partitions


def partition_verdicts(config: PipelineConfig, view: LedgerView, value: str | None) -> Iterator[Verdict]:
    """The answer of every check that looks at one table partition."""
    yield rows_accounted_for(value, view.totals, view.table_rows)
    yield late_rows(value, view.late)
    yield small_files(config, value, view.files, datetime.now(UTC))
