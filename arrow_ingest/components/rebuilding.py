"""Table partitions in, their rebuild on a thread of its own and its publication out.

Also what a run of the table's asset with ``rebuild: true`` does: it rebuilds the partitions that it was launched for.
"""

import logging
import threading
from collections.abc import Iterator

import dagster as dg

from arrow_ingest.components.background import BackgroundDrain
from arrow_ingest.components.publisher import Publisher
from arrow_ingest.components.runs import requested_partitions
from arrow_ingest.config import PipelineConfig
from arrow_ingest.errors import ConfigError
from arrow_ingest.pipeline.lane_locks import longest_run_seconds
from arrow_ingest.pipeline.rebuild import rebuild
from arrow_ingest.pipeline.rebuild_choice import Choice, these
from arrow_ingest.values import Receipt

log = logging.getLogger(__name__)

REBUILD = "rebuild"
"""The op's run config key."""

REBUILD_SAYS = (
    "Read the messages of the run's table partitions again and replace their rows. Offsets do not move; the same rows "
    "come of it however often it is done, or it is refused and nothing changes."
)


def rebuild_requested(config: PipelineConfig, context: dg.AssetExecutionContext) -> None:
    """Rebuild the partitions that the run was launched for.

    Raises:
        ConfigError: no partition was chosen.
    """
    requested = requested_partitions(context)
    if config.partition_by is not None and not requested:
        raise ConfigError("rebuild: true needs table partitions: launch the run with some")
    rebuild_and_publish(config, context, these(requested), requested)


def rebuild_and_publish(
    config: PipelineConfig,
    context: dg.AssetExecutionContext | dg.OpExecutionContext,
    choose: Choice,
    requested: tuple[str, ...] = (),
) -> tuple[Receipt, ...]:
    """Rebuild, and publish also what was rebuilt before a partition was refused; what was rebuilt.

    Raises:
        ArrowIngestError: as `rebuild` does.
    """

    def work(stop: threading.Event) -> Iterator[Receipt | None]:
        yield from rebuild(config, choose, run_id=context.run_id, wait_seconds=longest_run_seconds(config), stop=stop)

    done: list[Receipt] = []
    publisher = Publisher(config, context)
    publisher.publish_if_possible()
    try:
        with BackgroundDrain(work) as receipts:
            for receipt in receipts:
                if receipt is not None:
                    log.info("rebuilt %s", receipt.log_line(), extra={"snapshot_id": receipt.snapshot_id})
                    done.append(receipt)
    except BaseException:
        publisher.publish_if_possible()
        raise
    publisher.publish(requested, is_last=True)
    return tuple(done)
