"""One pass over a lane's log: from the stored offsets on, one micro-batch after the other."""

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from arrow_ingest.config import PipelineConfig, Run
from arrow_ingest.errors import ArrowIngestError, LaneSuspended, SuspendReason
from arrow_ingest.kafka.cluster import Cluster
from arrow_ingest.kafka.consumer import Consumer
from arrow_ingest.kafka.message import Message
from arrow_ingest.lake.catalog import LaneLock
from arrow_ingest.lake.holding import Holder
from arrow_ingest.lake.new_rows import RowSink
from arrow_ingest.lake.schema import TablePlan
from arrow_ingest.lake.session import Lake
from arrow_ingest.lake.staging import Stager
from arrow_ingest.pipeline.commit_queue import CommitQueue
from arrow_ingest.pipeline.lane_committer import LaneCommitter
from arrow_ingest.pipeline.open_batch import OpenBatch, SealedBatch
from arrow_ingest.pipeline.policy import Progress, is_flush_due, is_over, is_over_budget
from arrow_ingest.pipeline.start import LaneStart
from arrow_ingest.values import LaneState, Point, Receipt, Tally

POLL_SECONDS = 0.1
HEARTBEAT_SECONDS = 1.0
MAX_PENDING_COMMITS = 2
"""With so many under way, a micro-batch that is due goes on growing (on disk, not in memory) instead of waiting."""


@dataclass(frozen=True, slots=True)
class LaneRun:
    """What stays the same over all passes of one run.

    Args:
        started_at: `time.monotonic` seconds; ``run.max_run_seconds`` counts from here.
    """

    config: PipelineConfig
    lane: int
    run_id: str
    run: Run
    cluster: Cluster
    lane_lock: LaneLock
    stop: threading.Event
    at: Callable[[Point], None]
    started_at: float


class LogPass:
    """Fetch, decode and stage on the calling thread; encode on a pool; commit on a thread of its own.

    Args:
        lake: the session that ``start`` was read over; the commits go on with it.
        committed: what earlier passes of this run committed; the dead-letter budget counts per run.
        suspects: messages that took part in a failed write, to be tried alone.
    """

    def __init__(
        self,
        lane_run: LaneRun,
        start: LaneStart,
        lake: Lake,
        *,
        committed: Tally,
        suspects: frozenset[tuple[int, int]],
    ) -> None:
        self._lane_run = lane_run
        self._config = lane_run.config
        self._start = start
        self._lake = lake
        self._suspects = suspects
        self._sealed_tally = committed
        self._sealed = 0
        self._sinks: list[RowSink] = []
        self._last_arrival = self._last_yield = time.monotonic()
        self._resources = ExitStack()

    def __enter__(self) -> Self:
        config = self._config
        with ExitStack() as resources:
            self._pool = resources.enter_context(ThreadPoolExecutor(config.parquet.threads, thread_name_prefix="write"))
            self._consumer = resources.enter_context(
                Consumer(
                    config.kafka,
                    group=config.group,
                    positions=self._start.state.positions,
                    max_message_bytes=config.limits.max_message_bytes,
                    max_queued_bytes=config.kafka.max_queued_bytes,
                )
            )
            resources.callback(self._abandon)
            committer = resources.enter_context(
                LaneCommitter(
                    config,
                    self._lake,
                    run_id=self._lane_run.run_id,
                    cluster=self._lane_run.cluster,
                    lane_lock=self._lane_run.lane_lock,
                    at=self._lane_run.at,
                )
            )
            self._commits: CommitQueue[SealedBatch] = resources.enter_context(CommitQueue(committer.commit))
            committer.mirror(self._start.stored.offsets)
            self._open = self._new_batch(self._start.stored, self._start.state, self._start.plan)
            self._last_arrival = self._last_yield = time.monotonic()
            self._resources = resources.pop_all()
        return self

    def __exit__(self, *failure: object) -> None:
        self._resources.close()

    def receipts(self) -> Iterator[Receipt | None]:
        """Drain until the run is over; the order of receipts is the order of commits.

        Raises:
            Replan, StageFailed: stage again from the stored offsets.
            LaneSuspended: what was committed stays; the lane must not go on by itself.
        """
        while not self._is_over():
            try:
                self._fetch()
            except ArrowIngestError:
                yield from self._commits.landed()
                raise
            yield from self._with_heartbeat(self._commits.finished())
            if self._is_over_budget():
                yield from self._the_rest()
                raise self._over_budget()
        yield from self._the_rest()

    def _the_rest(self) -> Iterator[Receipt | None]:
        """Commit what is open and wait for all that is pending."""
        if not self._is_full:
            self._seal()
        while len(self._commits):
            yield self._commits.next_receipt(HEARTBEAT_SECONDS)

    def _fetch(self) -> None:
        """Add what has arrived; over the bound of bytes in flight the partitions are paused until writers catch up."""
        if self._in_flight_bytes() > self._config.max_in_flight_bytes:
            self._consumer.pause()
            self._writing().wait_for_progress(POLL_SECONDS)
        else:
            self._consumer.resume()
        events = self._consumer.poll(timeout_seconds=0.0 if self._consumer.is_paused else POLL_SECONDS)
        now = time.monotonic()
        if events:
            self._lane_run.at(Point.FETCHED)
        for event in events:
            if isinstance(event, Message):
                self._last_arrival = now
                self._open.add(event, now=now)
            else:
                self._open.reach_end(event, now=now)
            self._seal_if_due(now)
            if self._is_full:
                return
        self._seal_if_due(now)

    @property
    def _is_full(self) -> bool:
        """Whether a run of one micro-batch has it; what was fetched behind it is read again by the next run."""
        return self._lane_run.run.until == "micro_batch" and self._sealed > 0

    def _in_flight_bytes(self) -> int:
        """Received bytes that are in memory: of this micro-batch and of those being committed."""
        return sum(sink.buffered_bytes for sink in self._sinks) + self._open.letter_bytes

    def _is_stuck(self) -> bool:
        """Whether memory is over its bound, and only the commit of what is open frees it."""
        is_over = self._in_flight_bytes() > self._config.max_in_flight_bytes
        return is_over and not len(self._commits) and not any(sink.is_draining for sink in self._sinks)

    def _writing(self) -> RowSink:
        """The oldest sink with rows to write."""
        return next((sink for sink in self._sinks if sink.buffered_bytes), self._sinks[-1])

    def _seal(self) -> None:
        """Hand the open micro-batch to the committer and open the next one behind it."""
        sealed = self._open.seal()
        if sealed is None:
            return
        self._lane_run.at(Point.DECODED)
        self._sealed += 1
        self._sealed_tally += sealed.tally
        self._commits.submit(sealed)
        self._open = self._new_batch(sealed.after, sealed.after, sealed.plan.committed())

    def _new_batch(self, before: LaneState, start: LaneState, plan: TablePlan) -> OpenBatch:
        commit_id = str(uuid.uuid4())
        config = self._config
        sink = self._new_sink(commit_id)
        self._sinks = [sink for sink in self._sinks if sink.buffered_bytes] + [sink]
        return OpenBatch(
            config,
            commit_id=commit_id,
            before=before,
            start=start,
            plan=plan,
            sink=sink,
            inserted_at=datetime.now(UTC),
            suspects=self._suspects,
        )

    def _new_sink(self, commit_id: str) -> RowSink:
        config = self._config
        if config.writer == "insert":
            return Holder()
        return Stager(config.lake, config.parquet, pool=self._pool, commit_id=commit_id, lane=self._lane_run.lane)

    def _seal_if_due(self, now: float) -> None:
        opened_at, received_bytes = self._open.opened_at, self._open.received_bytes
        if opened_at is None or len(self._commits) >= MAX_PENDING_COMMITS:
            return
        is_due = is_flush_due(self._config.flush, received_bytes=received_bytes, age_seconds=now - opened_at)
        if is_due or self._is_stuck():
            self._seal()

    def _is_over(self) -> bool:
        now = time.monotonic()
        progress = Progress(
            elapsed_seconds=now - self._lane_run.started_at,
            idle_seconds=now - self._last_arrival,
            sealed=self._sealed,
            is_caught_up=self._open.is_caught_up(self._start.end),
        )
        return self._lane_run.stop.is_set() or is_over(self._lane_run.run, progress)

    def _is_over_budget(self) -> bool:
        return is_over_budget(self._config.dead_letters, self._sealed_tally + self._open.tally)

    def _over_budget(self) -> LaneSuspended:
        tally = self._sealed_tally
        return LaneSuspended(
            SuspendReason.DEAD_LETTER_BUDGET,
            f"{tally.dead} of this run's {tally.messages} messages became dead letters, over the budget of "
            f"{self._config.dead_letters.max_per_run} and {self._config.dead_letters.max_share:.1%}",
        )

    def _with_heartbeat(self, receipts: Iterator[Receipt]) -> Iterator[Receipt | None]:
        for receipt in receipts:
            self._last_yield = time.monotonic()
            yield receipt
        if time.monotonic() - self._last_yield >= HEARTBEAT_SECONDS:
            self._last_yield = time.monotonic()
            yield None

    def _abandon(self) -> None:
        for sink in self._sinks:
            sink.abandon()
