"""Table partitions in, the same partitions made anew from the log out: no row lost, none twice, no offset moved.

Under the lock of maintenance and those of all lanes. What is read is what the ledger says was read for the partition,
up to the stored offsets; what comes of it must be as many rows, commit by commit, or nothing is changed. A rebuild
gives the same rows however often it is done.
"""

import logging
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from arrow_ingest.config import PipelineConfig
from arrow_ingest.errors import (
    CommitConflict,
    ConfigError,
    LaneFenced,
    LaneSuspended,
    RebuildRefused,
    Replan,
    StageFailed,
)
from arrow_ingest.kafka.cluster import Cluster
from arrow_ingest.kafka.message import Message
from arrow_ingest.lake import lanes, ledger
from arrow_ingest.lake.catalog import catalog_of
from arrow_ingest.lake.commit import Committed, Committer
from arrow_ingest.lake.conform import Stamp
from arrow_ingest.lake.dead_letter_query import places_of_letters
from arrow_ingest.lake.letter_events import read_spans
from arrow_ingest.lake.lock_wait import waited_for
from arrow_ingest.lake.partition import split
from arrow_ingest.lake.rebuild_commit import PartitionRebuild
from arrow_ingest.lake.rebuild_scope import Run, Scope, scope_of
from arrow_ingest.lake.schema import plan_for
from arrow_ingest.lake.session import Lake, open_lake
from arrow_ingest.lake.sql import LAKE
from arrow_ingest.lake.staging import Stager
from arrow_ingest.lake.table_partition import TablePartition
from arrow_ingest.lake.tables import check_takes_our_files, ensure, read_table_schema
from arrow_ingest.pipeline.drain import MAX_REPLANS
from arrow_ingest.pipeline.lane_locks import LaneLocks, holding_lanes
from arrow_ingest.pipeline.log_ranges import messages_in
from arrow_ingest.pipeline.rebuild_choice import Choice
from arrow_ingest.pipeline.rows import MessageRows, rows_of
from arrow_ingest.values import (
    Copies,
    LaneState,
    Point,
    Receipt,
    Rejection,
    Tally,
    TopicState,
    ignore,
    touched_partitions,
)

log = logging.getLogger(__name__)

_WAIT_SECONDS = 1.0
_TAKEN_ALONG = (-1, -1)
"""The source of rows that come from the table and not from a message."""


def rebuild(
    config: PipelineConfig,
    choose: Choice,
    *,
    run_id: str,
    wait_seconds: float,
    stop: threading.Event | None = None,
    at: Callable[[Point], None] = ignore,
) -> Iterator[Receipt]:
    """Rebuild table partitions, each in a transaction of its own; a receipt for each, whose rows are not new ones.

    The locks are held until the generator ends: the lanes wait for all of the partitions.

    Args:
        choose: among the table partitions that have rows by the ledger; a table without partitions is one.
        wait_seconds: how long to wait for lanes that are being drained now, and for maintenance.
        stop: once set, it ends before its next transaction.

    Raises:
        LaneBusy, MaintenanceBusy: others did not come to their end in time; nothing was changed.
        RebuildRefused: the log no longer holds what the table holds, or says something else; nothing was changed in
            this partition.
        ConfigError: no lane was ever started. LakeMismatch: the lake encrypts its files.
        Stopped, TransientError: nothing was changed in this partition.
    """
    catalog = catalog_of(config.lake)
    if not catalog.exists():
        raise ConfigError(f"{config.name} was never started: there is nothing to rebuild")
    deadline = time.monotonic() + wait_seconds
    with ExitStack() as held:
        lake = held.enter_context(open_lake(config.lake))
        ensure(lake, config)
        check_takes_our_files(lake)
        known = lanes.read_lanes(lake, config.name)
        if not known:
            raise ConfigError(f"{config.name} was never started: there is nothing to rebuild")
        maintenance = held.enter_context(
            waited_for(partial(catalog.maintenance_lock, holder=run_id), deadline=deadline)
        )
        left = max(0.0, deadline - time.monotonic())
        locks = held.enter_context(holding_lanes(config, known, run_id=run_id, wait_seconds=left))
        cluster = held.enter_context(Cluster(config.kafka))
        task = _Task(config, lake, cluster, LaneLocks((maintenance, locks)), run_id, stop or threading.Event(), at)
        for key in _keys(config, choose, ledger.partition_totals(lake, config.name)):
            yield _rebuilt(task, key)


def _keys(config: PipelineConfig, choose: Choice, found: Iterable[str | None]) -> Sequence[str | None]:
    """The partitions to rebuild. The NULL partition is never one: nothing names it."""
    named = [key for key in found if key is not None]
    return [None] if config.partition_by is None else choose(named)


@dataclass(frozen=True, slots=True)
class _Task:
    """What stays the same over all table partitions."""

    config: PipelineConfig
    lake: Lake
    cluster: Cluster
    locks: LaneLocks
    run_id: str
    stop: threading.Event
    at: Callable[[Point], None]


def _rebuilt(task: _Task, key: str | None) -> Receipt:
    for _ in range(MAX_REPLANS):
        try:
            return _Attempt(task, key).committed()
        except StageFailed as failure:
            raise RebuildRefused(key, f"its rows cannot be written any more: {failure}") from failure
        except LaneSuspended as incident:
            raise RebuildRefused(key, f"the log cannot be read again: {incident.detail}") from incident
        except (Replan, LaneFenced) as finding:  # somebody without the locks was there
            log.info("reading again: %s", finding)
    raise CommitConflict(f"the table was changed {MAX_REPLANS} times while partition {key} was being rebuilt")


class _Attempt:
    """One table partition, read and staged once."""

    def __init__(self, task: _Task, key: str | None) -> None:
        config, lake = task.config, task.lake
        self._task = task
        self._config = config
        self._partition = TablePartition(config, key)
        topic = task.cluster.topic_state()
        with lake.snapshot():
            [(self._snapshot,)] = lake.execute("SELECT id FROM ducklake_current_snapshot(?)", [LAKE])
            self._lanes = lanes.read_lanes(lake, config.name)
            entries = ledger.commits_since(lake, config.name, 0)
            spans = read_spans(lake, config.name)
            letters = places_of_letters(lake, config.lake)
            self._plan = plan_for(config, read_table_schema(lake, config.lake))
            self._scope = scope_of(key, entries, spans, letters, self._lanes)
            self._times = self._partition.insertion_times(lake, self._plan, self._scope.generations)
        check_log_covers(self._scope, self._lanes, topic)
        self._rows: Counter[int] = Counter()
        self._messages = 0
        self._received_bytes = 0
        self._copies = Copies()

    def committed(self) -> Receipt:
        """Stage the partition's rows and put them in place of what is there."""
        config, task, commit_id, started = self._config, self._task, str(uuid.uuid4()), time.monotonic()
        with ThreadPoolExecutor(config.parquet.threads, thread_name_prefix="write") as pool:
            stager = Stager(config.lake, config.parquet, pool=pool, commit_id=commit_id, lane=self._lanes[0].lane)
            try:
                task.at(Point.FETCHED)
                for messages in self._scope.passes():
                    for message in messages_in(config, messages, task.stop):
                        self._stage(message, stager)
                self._check_rows()
                self._take_along(stager)
                task.at(Point.DECODED)
                rows = stager.finish()
            finally:
                stager.abandon()
        task.at(Point.STAGED)
        change = PartitionRebuild(
            commit_id=commit_id,
            config=config,
            plan=self._plan,
            partition=self._partition,
            rows=rows,
            snapshot=self._snapshot,
            lanes=self._lanes,
            received_bytes=self._received_bytes,
            copies=self._copies,
            run_id=task.run_id,
        )
        stage_seconds = time.monotonic() - started
        with Committer(config.lake, task.locks) as committer:
            done = committer.commit(change, at=task.at)
        task.at(Point.COMMITTED)
        return self._receipt(change, done, stage_seconds)

    def _stage(self, message: Message, stager: Stager) -> None:
        run = self._scope.find(message.partition, message.offset)
        if run is None:
            return
        made = self._rows_of(message, run)
        self._plan = made.plan
        self._messages += 1
        self._received_bytes += message.payload.size if message.payload is not None else 0
        self._copies += made.copies
        for piece in made.slices:
            if piece.value == self._partition.key:
                self._rows[run.commit] += piece.rows.num_rows
                stager.append(piece, (message.partition, message.offset))
        self._wait(stager)

    def _rows_of(self, message: Message, run: Run) -> MessageRows:
        commit = self._scope.commits[run.commit]
        stamp = Stamp(
            generation=self._scope.generations[message.partition],
            partition=message.partition,
            offset=message.offset,
            timestamp_ms=message.timestamp_ms,
            inserted_at=self._times.at(message.partition, message.offset, commit.committed_at),
            key=message.key,
            headers=message.headers,
        )
        made = rows_of(message.payload, self._config, self._plan, stamp)
        if isinstance(made, Rejection):
            place, why = f"{message.partition}:{message.offset}", f"{made.reason.value}: {made.detail}"
            raise RebuildRefused(self._partition.key, f"the message at {place} had rows and is refused now ({why})")
        return made

    def _wait(self, stager: Stager) -> None:
        while stager.buffered_bytes > self._config.max_in_flight_bytes:
            stager.wait_for_progress(_WAIT_SECONDS)

    def _check_rows(self) -> None:
        for index, expected in self._scope.expected.items():
            if self._rows[index] != expected:
                commit = self._scope.commits[index]
                raise RebuildRefused(
                    self._partition.key,
                    f"the log gives {self._rows[index]} rows for commit {commit.commit_id} (snapshot "
                    f"{commit.snapshot_id}), the ledger has {expected}: messages are gone, by compaction say, or come "
                    "out otherwise with the settings as they are now",
                )

    def _take_along(self, stager: Stager) -> None:
        """Rows of earlier generations, and of others, stay as they are."""
        for batch in self._partition.other_rows(self._task.lake, self._plan, self._scope.generations):
            parted = split([batch], self._config.partition_by, self._config.limits)
            assert not isinstance(parted, Rejection), parted
            for piece in parted.slices:
                stager.append(piece, _TAKEN_ALONG)
            self._wait(stager)

    def _receipt(self, change: PartitionRebuild, done: Committed, stage_seconds: float) -> Receipt:
        touched = touched_partitions(change.rows.files)
        return Receipt(
            commit_id=change.commit_id,
            pipeline=self._config.name,
            lane=self._lanes[0].lane,
            snapshot_id=done.snapshot_id,
            generation=self._lanes[0].generation,
            ranges=(),
            tally=Tally(messages=self._messages, rows=sum(part.rows for part in touched)),
            touched=touched,
            copies=self._copies,
            schema_changes=tuple(str(each) for each in change.plan.changes),
            bytes_received=self._received_bytes,
            bytes_on_disk=sum(part.size_bytes for part in touched),
            files=len(change.rows.files),
            stage_seconds=stage_seconds,
            commit_seconds=done.seconds,
            committed_at=datetime.now(UTC),
        )


def check_log_covers(scope: Scope, held: Sequence[LaneState], topic: TopicState) -> None:
    """Refuse what the log cannot give back.

    Raises:
        RebuildRefused: it is another topic, or has lost some of the offsets that the partition's rows came from.
    """
    for lane in held:
        if lane.topic_id != topic.topic_id:
            raise RebuildRefused(
                scope.key,
                f"topic {topic.topic} was made again: lane {lane.lane} read topic id {lane.topic_id}, the broker has "
                f"{topic.topic_id}",
            )
    for run in scope.runs:
        low, high = topic.low.get(run.partition, 0), topic.high.get(run.partition, 0)
        if run.start < low or run.stop > high:
            raise RebuildRefused(
                scope.key,
                f"its rows came from offsets [{run.start}, {run.stop}) of Kafka partition {run.partition}, and the log "
                f"holds [{low}, {high}) only",
            )
