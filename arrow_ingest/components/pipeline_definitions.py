"""One pipeline's settings to its Dagster definitions: topic, table, checks, jobs, schedules and sensors. No I/O."""

import dagster as dg

from arrow_ingest.components.alert_sensor import build_alert_sensor
from arrow_ingest.components.asset_checks import build_partition_checks, build_pipeline_checks
from arrow_ingest.components.drain_schedule import build_drain_schedule
from arrow_ingest.components.lane_sensor import build_lane_sensor
from arrow_ingest.components.maintenance_asset import (
    build_maintenance_asset,
    build_maintenance_job,
    build_maintenance_schedule,
)
from arrow_ingest.components.names import PIPELINE_TAG, Names
from arrow_ingest.components.rebuild_job import build_rebuild_job
from arrow_ingest.components.replay_job import build_replay_job
from arrow_ingest.components.table_asset import build_table_asset
from arrow_ingest.components.table_spec import topic_spec
from arrow_ingest.config import PipelineConfig

RUNTIME_MARGIN_SECONDS = 120
"""Time for the last commit and publication, before Dagster's monitor ends the run as hung."""


def pipeline_definitions(config: PipelineConfig) -> dg.Definitions:
    """Everything that Dagster shows and runs of one pipeline.

    The job's runs, which the sensor asks for, drain in the run's own process. For what a person launches the executor
    is left to the project; ``dg.in_process_executor`` saves a process per click.
    """
    names = Names.of(config)
    drain_job = dg.define_asset_job(
        names.job,
        selection=dg.AssetSelection.assets(names.table).without_checks(),
        executor_def=dg.in_process_executor,
        tags={
            PIPELINE_TAG: config.name,
            "dagster/max_runtime": str(int(config.run.max_run_seconds + RUNTIME_MARGIN_SECONDS)),
        },
        description=f"Drains {config.kafka.topic} into {config.lake.schema_name}.{config.lake.table}.",
    )
    return dg.Definitions(
        assets=[topic_spec(config), build_table_asset(config), build_maintenance_asset(config)],
        asset_checks=[build_pipeline_checks(config), build_partition_checks(config)],
        jobs=[drain_job, build_maintenance_job(config), build_rebuild_job(config), build_replay_job(config)],
        schedules=[
            *([build_drain_schedule(config)] if config.run.cron else []),
            *([build_maintenance_schedule(config)] if config.maintenance.schedule else []),
        ],
        sensors=[build_lane_sensor(config), build_alert_sensor(config)],
    )
