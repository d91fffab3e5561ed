"""One snapshot's view of the lake and the broker's word to the evidence that the checks look at."""

from datetime import UTC, datetime

from arrow_ingest.components.ledger_view import LedgerView
from arrow_ingest.components.table_spec import declared_partitions
from arrow_ingest.components.verdicts import Evidence
from arrow_ingest.config import PipelineConfig
from arrow_ingest.errors import TransientError
from arrow_ingest.kafka.cluster import Cluster
from arrow_ingest.values import TopicState

BROKER_SECONDS = 5.0


def evidence_of(config: PipelineConfig, view: LedgerView, shown_columns: frozenset[str] | None) -> Evidence:
    """What the checks of the pipeline as a whole look at.

    Args:
        shown_columns: the columns that Dagster shows of the table; None: it shows none yet, so none is new.
    """
    columns = [column.name for column in view.schema.columns] if view.schema else []
    added = [name for name in columns if shown_columns is not None and name not in shown_columns]
    return Evidence(
        now=datetime.now(UTC),
        lanes=view.lanes,
        topic=_ask_broker(config),
        commits=view.commits,
        last_commit_at=view.newest.committed_at if view.newest else None,
        added_columns=tuple(added),
        refused=view.refused,
        unresolved=view.unresolved,
        declared=declared_partitions(config, view.totals),
    )


def _ask_broker(config: PipelineConfig) -> TopicState | None:
    try:
        with Cluster(config.kafka, timeout_seconds=BROKER_SECONDS) as cluster:
            return cluster.topic_state()
    except TransientError:
        return None
