"""A SQL model's checks: of the committed rows, a table partition at a time, in a run with the asset or in one alone.

Checks of severity error are asked before as well, of rows that are not committed yet: what fails them stays out.
"""

import warnings
from collections.abc import Iterator

import dagster as dg

from arrow_ingest.components import history
from arrow_ingest.components.history import Target
from arrow_ingest.components.model_spec import ModelNames
from arrow_ingest.components.table_spec import partitions_def
from arrow_ingest.errors import ArrowIngestError
from arrow_ingest.lake.models.check_sql import bad_rows
from arrow_ingest.lake.models.run import CheckAnswer, check_answers
from arrow_ingest.model_settings import ModelCheck, SqlModel

SEVERITIES = {"error": dg.AssetCheckSeverity.ERROR, "warn": dg.AssetCheckSeverity.WARN}


def build_model_checks(model: SqlModel) -> dg.AssetChecksDefinition | None:
    """The checks, each executable alone: of the partitions that the run was launched for, else of all that there are.

    None: the model has none.
    """
    names = ModelNames.of(model)
    if not model.config.checks:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)  # partitioned checks; a test pins what we rely on
        specs = [
            dg.AssetCheckSpec(
                check.key,
                asset=names.table,
                description=_description(check),
                blocking=check.severity == "error",
                partitions_def=partitions_def(model.pipeline),
            )
            for check in model.config.checks
        ]

    @dg.multi_asset_check(name=names.checks_op, specs=specs, can_subset=True)
    def check_model(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckEvaluation]:
        selected = {key.name for key in context.selected_asset_check_keys}
        is_partitioned_run = context.has_partition_key or context.has_partition_key_range
        known = sorted(context.instance.get_materialized_partitions(names.table))
        values = context.partition_keys if is_partitioned_run else known
        try:
            answers = check_answers(model, values)
        except ArrowIngestError as error:
            raise dg.Failure(str(error), metadata={"error": type(error).__name__}, allow_retries=False) from error
        targets = {value: history.newest_materialization(context.instance, names.table, value) for value in values}
        for answer in answers:
            if answer.check.key in selected:
                yield answer_event(names.table, answer, targets[answer.value])

    return check_model


def answer_event(table: dg.AssetKey, answer: CheckAnswer, target: Target | None) -> dg.AssetCheckEvaluation:
    """The event that stores an answer, pointing at the materialisation that it is about."""
    return dg.AssetCheckEvaluation(
        asset_key=table,
        check_name=answer.check.key,
        passed=answer.passed,
        metadata={"bad_rows": answer.bad_rows},
        target_materialization_data=target,
        severity=SEVERITIES[answer.check.severity],
        description="no row fails it" if answer.passed else f"{answer.bad_rows} rows or groups fail it",
        partition=answer.value,
    )


def _description(check: ModelCheck) -> str:
    text, _ = bad_rows(check)
    return f"No row comes of\n```sql\n{text.strip()}\n```"
