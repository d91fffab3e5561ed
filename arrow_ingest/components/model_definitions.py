"""One SQL model's settings to its Dagster definitions: table, checks, and the sensor that refreshes it. No I/O."""

import dagster as dg

from arrow_ingest.components.model_asset import build_model_asset
from arrow_ingest.components.model_checks import build_model_checks
from arrow_ingest.components.model_spec import build_refresh_sensor
from arrow_ingest.errors import ConfigError, ModelRefused, StatementRefused
from arrow_ingest.lake.models.stage import check_query
from arrow_ingest.model_settings import BY_HAND, ON_CHANGE, SqlModel


def model_definitions(model: SqlModel) -> dg.Definitions:
    """Everything that Dagster shows and runs of one model.

    Raises:
        ConfigError: its query is none, or Dagster does not take its cron expression.
    """
    key = "sql" if model.config.sql is not None else "sql_file"
    try:
        check_query(model)
    except (ModelRefused, StatementRefused) as refusal:
        raise ConfigError(f"{model.name}: {refusal}", key=key) from refusal
    _check_cron(model)
    asset = build_model_asset(model)
    checks, sensor = build_model_checks(model), build_refresh_sensor(model)
    return dg.Definitions(assets=[asset], asset_checks=[checks] if checks else [], sensors=[sensor] if sensor else [])


def _check_cron(model: SqlModel) -> None:
    """Ask Dagster's own schedules: what a condition says of an expression has no class of its own."""
    refresh = model.config.refresh
    if refresh in (ON_CHANGE, BY_HAND):
        return
    try:
        dg.ScheduleDefinition(name="asked_only", job_name="asked_only", cron_schedule=refresh)
    except dg.DagsterInvalidDefinitionError as error:
        raise ConfigError(f"{model.name}: Dagster does not take {refresh!r}", key="refresh") from error
