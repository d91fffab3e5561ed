"""The table as an executable asset: one run drains its lanes micro-batch by micro-batch and publishes coarsely."""

import logging
import threading
from collections.abc import Iterator
from functools import partial
from typing import Never

import dagster as dg

from arrow_ingest.components.background import BackgroundDrain
from arrow_ingest.components.names import BUSY, LANE_STATE_TAG, LAYOUT, Names
from arrow_ingest.components.publisher import Publisher
from arrow_ingest.components.rebuilding import REBUILD, REBUILD_SAYS, rebuild_requested
from arrow_ingest.components.run_log import lines_on_stderr
from arrow_ingest.components.runs import Assignment, assignment, requested_partitions
from arrow_ingest.components.table_spec import table_spec
from arrow_ingest.config import PipelineConfig
from arrow_ingest.errors import ArrowIngestError, LaneBusy, LaneSuspended, LayoutMismatch
from arrow_ingest.log_lines import about
from arrow_ingest.pipeline.drain import drain
from arrow_ingest.values import Receipt

log = logging.getLogger(__name__)


def build_table_asset(config: PipelineConfig) -> dg.AssetsDefinition:
    """The table's asset and its op. A range of partitions is one run; there is no retry policy, the sensor retries.

    With a retry policy a terminated op would be run again beside the next run (FACTS, dagster#15026).
    """
    names = Names.of(config)

    @dg.multi_asset(
        name=names.op,
        specs=[table_spec(config)],
        backfill_policy=dg.BackfillPolicy.single_run(),
        config_schema={REBUILD: dg.Field(bool, default_value=False, description=REBUILD_SAYS)},
    )
    def micro_batch(context: dg.AssetExecutionContext) -> Iterator[Never]:
        try:
            with lines_on_stderr(config.name, context.run.run_id):
                if context.op_execution_context.op_config[REBUILD]:
                    rebuild_requested(config, context)
                else:
                    _drain_and_publish(config, context)
        except LaneSuspended as incident:
            context.instance.add_run_tags(context.run.run_id, {LANE_STATE_TAG: incident.reason.value})
            raise _suspended(config, incident) from incident
        except LayoutMismatch as mismatch:
            context.instance.add_run_tags(context.run.run_id, {LANE_STATE_TAG: LAYOUT})
            raise dg.Failure(str(mismatch), allow_retries=False) from mismatch
        except ArrowIngestError as error:
            raise dg.Failure(str(error), metadata={"error": type(error).__name__}, allow_retries=False) from error
        # A generator that yields nothing: Dagster would add a materialisation without partition to what a function
        # returns, after which every partition's checks look out of date (FACTS).
        yield from ()

    return micro_batch


def _drain_and_publish(config: PipelineConfig, context: dg.AssetExecutionContext) -> None:
    """Publish what earlier runs left, drain, publish; also when draining failed or the run is being terminated."""
    task = assignment(config, context.run.tags)
    requested = requested_partitions(context)
    publisher = Publisher(config, context)
    publisher.publish_if_possible()
    try:
        for lane in task.lanes:
            with about(lane=lane):
                _drain_lane(config, context, lane, task, publisher)
    except BaseException:
        publisher.publish_if_possible(requested)  # it never hides why the run fails
        raise
    publisher.publish(requested, is_last=True)


def _drain_lane(
    config: PipelineConfig, context: dg.AssetExecutionContext, lane: int, task: Assignment, publisher: Publisher
) -> None:
    if not task.is_supervised:
        context.instance.add_run_tags(context.run.run_id, Names.of(config).run_tags(lane))
    try:
        with BackgroundDrain(partial(_lane_drain, config, lane, task, context.run.run_id)) as receipts:
            for receipt in receipts:
                if receipt is not None:
                    log.info("%s", receipt.log_line(), extra={"snapshot_id": receipt.snapshot_id})
                    publisher.note(receipt)
                if publisher.is_due:
                    publisher.publish_if_possible()
    except LaneBusy as busy:
        log.info("%s: nothing to do here", busy)
        if task.is_supervised:
            context.instance.add_run_tags(context.run.run_id, {LANE_STATE_TAG: BUSY})


def _lane_drain(
    config: PipelineConfig, lane: int, task: Assignment, run_id: str, stop: threading.Event
) -> Iterator[Receipt | None]:
    return drain(config, lane=lane, run_id=run_id, run=task.run, stop=stop)


def _suspended(config: PipelineConfig, incident: LaneSuspended) -> dg.Failure:
    metadata: dict[str, str | int] = {"reason": incident.reason.value, "detail": incident.detail}
    if incident.partition is not None:
        metadata["kafka_partition"] = incident.partition
    if incident.expected is not None:
        metadata["expected_offset"] = incident.expected
    if incident.available is not None:
        metadata["available_offsets"] = f"[{incident.available[0]}, {incident.available[1]})"
    return dg.Failure(
        f"{incident}\nNothing was lost or repeated. Look at `arrow-ingest status {config.name}`, then go on with "
        f"`arrow-ingest resume {config.name} --accept-loss`, or `arrow-ingest rebase {config.name}` for a topic that "
        "was made again.",
        metadata=metadata,
        allow_retries=False,
    )
