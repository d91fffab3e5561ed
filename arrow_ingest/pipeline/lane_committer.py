"""A sealed micro-batch in, its receipt out: close the files, check the topic, commit, mirror."""

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from arrow_ingest.config import PipelineConfig
from arrow_ingest.errors import ConfigError, LaneSuspended, SuspendReason, TransientError
from arrow_ingest.kafka.cluster import Cluster
from arrow_ingest.kafka.group_offsets import GroupOffsets
from arrow_ingest.lake.catalog import LaneLock
from arrow_ingest.lake.commit import Committed, Committer, MicroBatch
from arrow_ingest.lake.dead_letters import stage_dead_letters
from arrow_ingest.lake.engine import CATALOG_THREADS, QUERY_THREADS
from arrow_ingest.lake.session import Lake
from arrow_ingest.pipeline.open_batch import SealedBatch
from arrow_ingest.values import CommitKind, Point, Receipt

log = logging.getLogger(__name__)


class LaneCommitter:
    """Commits the micro-batches of one run; used by one thread at a time.

    Args:
        lake: the session to commit over, until an error ends it; from then on one of its own.
    """

    def __init__(
        self,
        config: PipelineConfig,
        lake: Lake,
        *,
        run_id: str,
        cluster: Cluster,
        lane_lock: LaneLock,
        at: Callable[[Point], None],
    ) -> None:
        self._config = config
        self._run_id = run_id
        self._cluster = cluster
        self._at = at
        self._committer = Committer(config.lake, lane_lock, session=lake, threads=commit_threads(config))
        self._mirror = GroupOffsets(config.kafka, config.group)
        self._resources = ExitStack()
        self._last_seconds: float | None = None

    def __enter__(self) -> Self:
        self._resources.enter_context(self._mirror)
        self._resources.enter_context(self._committer)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._resources.close()

    def commit(self, sealed: SealedBatch) -> Receipt:
        """Make ``sealed`` one snapshot.

        Raises:
            StageFailed: a row group could not be written.
            LaneSuspended: the topic was made again since the run began.
            Replan, LaneFenced, LaneLockLost, CommitConflict, CatalogUnavailable: see `Committer.commit`.
        """
        batch = self._staged(sealed)
        staged_at = time.monotonic()
        self._at(Point.STAGED)
        self._check_topic(sealed.after.topic_id)
        committed = self._committer.commit(batch, at=self._at)
        self._last_seconds = committed.seconds
        sealed.sink.abandon()  # a sink that holds its rows need not any more
        self._at(Point.COMMITTED)
        self.mirror(sealed.after.offsets)
        self._at(Point.MIRRORED)
        return _receipt(sealed, batch, committed, stage_seconds=staged_at - sealed.opened_at)

    def mirror(self, offsets: Mapping[int, int]) -> None:
        """Show the stored offsets to Kafka's monitors. They are a copy: that it fails is logged, and nothing else."""
        try:
            self._mirror.write(offsets)
        except (TransientError, ConfigError) as failure:
            log.warning("offsets were not mirrored to group %s: %s", self._config.group, failure)

    def _staged(self, sealed: SealedBatch) -> MicroBatch:
        config = self._config
        rows = sealed.sink.finish()
        letters = stage_dead_letters(
            sealed.letters, config.lake, config.parquet, commit_id=sealed.commit_id, lane=sealed.before.lane
        )
        return MicroBatch(
            commit_id=sealed.commit_id,
            config=config,
            before=sealed.before,
            after=sealed.after,
            plan=sealed.plan,
            rows=rows,
            dead_letter_file=letters,
            ranges=sealed.ranges,
            tally=sealed.tally,
            run_id=self._run_id,
            kind=CommitKind.INGEST,
            bytes_received=sealed.received_bytes,
            copies=sealed.copies,
            late=sealed.late,
            last_commit_seconds=self._last_seconds,
        )

    def _check_topic(self, expected: str) -> None:
        """A topic made again answers fetches as if nothing had happened (FACTS): only its id tells."""
        found = self._cluster.topic_id()
        if found != expected:
            topic = self._config.kafka.topic
            raise LaneSuspended(
                SuspendReason.TOPIC_RECREATED,
                f"topic {topic} was made again during the run: id {expected} became {found}",
            )


def commit_threads(config: PipelineConfig) -> int:
    """DuckDB's threads in a session that commits: more than one only where DuckDB writes the rows itself."""
    return QUERY_THREADS if config.writer == "insert" else CATALOG_THREADS


def _receipt(sealed: SealedBatch, batch: MicroBatch, committed: Committed, *, stage_seconds: float) -> Receipt:
    letters = [batch.dead_letter_file] if batch.dead_letter_file else []
    return Receipt(
        commit_id=batch.commit_id,
        pipeline=batch.config.name,
        lane=batch.before.lane,
        snapshot_id=committed.snapshot_id,
        generation=batch.after.generation,
        ranges=batch.ranges,
        tally=batch.tally,
        touched=committed.touched,
        copies=sealed.copies,
        schema_changes=tuple(str(change) for change in batch.plan.changes),
        bytes_received=sealed.received_bytes,
        bytes_on_disk=sum(part.size_bytes for part in committed.touched) + sum(file.size_bytes for file in letters),
        files=sum(partition.files for partition in committed.touched) + len(letters),
        stage_seconds=stage_seconds,
        commit_seconds=committed.seconds,
        committed_at=committed.committed_at,
    )
