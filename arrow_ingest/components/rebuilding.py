"""A run with ``rebuild: true``: the table partitions that it was launched for are made anew, then published."""

import logging
import threading
from collections.abc import Iterator

import dagster as dg

# Not public in Dagster 1.13; only the annotation needs it.
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from arrow_ingest.components.background import BackgroundDrain
from arrow_ingest.components.names import Names
from arrow_ingest.components.publisher import Publisher
from arrow_ingest.components.runs import requested_partitions
from arrow_ingest.config import PipelineConfig
from arrow_ingest.errors import ConfigError
from arrow_ingest.pipeline.lane_locks import longest_run_seconds
from arrow_ingest.pipeline.rebuild import rebuild, these
from arrow_ingest.values import Receipt

log = logging.getLogger(__name__)

REBUILD = "rebuild"
"""The op's run config key."""

REBUILD_SAYS = (
    "Read the messages of the run's table partitions again and replace their rows. Offsets do not move; the same rows "
    "come of it however often it is done, or it is refused and nothing changes."
)


def build_rebuild_job(config: PipelineConfig) -> UnresolvedAssetJobDefinition:
    """The job `rebuild_<pipeline>`: launched on a table partition, or on a range of them as a backfill of one run."""
    names = Names.of(config)
    return dg.define_asset_job(
        names.rebuild_job,
        selection=dg.AssetSelection.assets(names.table).without_checks(),
        executor_def=dg.in_process_executor,
        config={"ops": {names.op: {"config": {REBUILD: True}}}},
        description=f"Makes table partitions of {config.lake.schema_name}.{config.lake.table} anew from the log.",
    )


def rebuild_and_publish(config: PipelineConfig, context: dg.AssetExecutionContext) -> None:
    """Rebuild, and publish also what was rebuilt before a partition was refused.

    Raises:
        ConfigError: no partition was chosen.
    """
    requested = requested_partitions(context)
    if config.partition_by is not None and not requested:
        raise ConfigError("rebuild: true needs table partitions: launch the run with some")

    def work(stop: threading.Event) -> Iterator[Receipt | None]:
        yield from rebuild(
            config,
            these(requested),
            run_id=context.run.run_id,
            wait_seconds=longest_run_seconds(config),
            stop=stop,
        )

    publisher = Publisher(config, context)
    publisher.publish_if_possible()
    try:
        with BackgroundDrain(work) as receipts:
            for receipt in receipts:
                if receipt is not None:
                    log.info("rebuilt %s", receipt.log_line())
    except BaseException:
        publisher.publish_if_possible()
        raise
    publisher.publish(requested, is_last=True)
