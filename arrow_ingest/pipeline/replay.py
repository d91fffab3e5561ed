"""Dead letters in, their rows in the table: once each, in one transaction, under the locks of all lanes.

What refused them may be gone: a fixed decoder, a larger limit, another policy. Those that are refused still stay as
they are. Their rows carry the generation, partition and offset that the message had, and ``_inserted_at`` of now.
"""

import logging
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa

from arrow_ingest.config import PipelineConfig
from arrow_ingest.errors import CommitConflict, Replan, StageFailed, Stopped
from arrow_ingest.lake import lanes
from arrow_ingest.lake.catalog import LaneLock, catalog_of
from arrow_ingest.lake.commit import Committed, Committer
from arrow_ingest.lake.conform import Stamp
from arrow_ingest.lake.dead_letter_query import Body, StoredLetter, Wanted, bodies, stored_letters
from arrow_ingest.lake.letter_events import Place
from arrow_ingest.lake.replay_commit import LetterReplay
from arrow_ingest.lake.schema import TablePlan, plan_for
from arrow_ingest.lake.session import Lake, open_lake
from arrow_ingest.lake.staging import Stager
from arrow_ingest.lake.tables import check_takes_our_files, ensure, read_table_schema
from arrow_ingest.pipeline.culprits import Suspects, try_alone, widened
from arrow_ingest.pipeline.drain import MAX_REPLANS
from arrow_ingest.pipeline.lane_locks import holding_lanes
from arrow_ingest.pipeline.rows import MessageRows, rows_of
from arrow_ingest.values import Copies, LaneState, Point, Receipt, Rejection, Tally, ignore

log = logging.getLogger(__name__)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_WAIT_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay did, or (``is_dry_run``) would have done.

    Args:
        replayed: letters that became rows, or messages without rows, by the reason that they were refused for.
        still_dead: letters that stay, by the reason that they are refused for now.
        rows: rows that came of them.
        receipt: None: nothing was committed.
    """

    replayed: Mapping[str, int] = field(default_factory=dict)
    still_dead: Mapping[str, int] = field(default_factory=dict)
    rows: int = 0
    is_dry_run: bool = False
    receipt: Receipt | None = None


def replay(
    config: PipelineConfig,
    wanted: Wanted,
    *,
    run_id: str,
    wait_seconds: float,
    is_dry_run: bool = False,
    stop: threading.Event | None = None,
    at: Callable[[Point], None] = ignore,
) -> Replayed:
    """Try unresolved dead letters again, with the settings and the table as they are now.

    Args:
        wanted: which of them, the oldest first.
        wait_seconds: how long to wait for runs that drain the lanes now.
        is_dry_run: take no lock and write nothing.
        stop: once set, it ends before its transaction.

    Raises:
        LaneBusy: a run drains a lane and did not end in time; nothing was changed.
        LakeMismatch: the lake is encrypted, so that staged files do not belong in it.
        Stopped, CommitConflict, CatalogUnavailable, LaneLockLost: nothing was changed.
        OutcomeUnknown: COMMIT was sent and the catalog could not be asked since; a second replay finds out.
    """
    if not catalog_of(config.lake).exists():
        return Replayed(is_dry_run=is_dry_run)
    wanted = replace(wanted, is_unresolved=True, is_oldest_first=True)
    with open_lake(config.lake, read_only=is_dry_run) as lake:
        task = _Task(config, lake, wanted, run_id, stop or threading.Event())
        if is_dry_run:
            return _Attempt(task, frozenset()).tried()
        ensure(lake, config)
        check_takes_our_files(lake)
        held = lanes.read_lanes(lake, config.name)
        if not held or not stored_letters(lake, config.name, config.lake, replace(wanted, limit=1)):
            return Replayed()
        with holding_lanes(config, held, run_id=run_id, wait_seconds=wait_seconds) as locks:
            return _attempts(task, held[0], locks, at)


@dataclass(frozen=True, slots=True)
class _Task:
    """What stays the same over all attempts."""

    config: PipelineConfig
    lake: Lake
    wanted: Wanted
    run_id: str
    stop: threading.Event


def _attempts(task: _Task, lane: LaneState, locks: LaneLock, at: Callable[[Point], None]) -> Replayed:
    """Stage and commit; what others change meanwhile, and rows that cannot be written, make it stage again."""
    suspects: Suspects = frozenset()
    for _ in range(MAX_REPLANS):
        try:
            return _Attempt(task, suspects).committed(lane, locks, at)
        except StageFailed as failure:
            suspects = widened(suspects, failure)
        except Replan as finding:
            log.info("trying again: %s", finding)
    raise CommitConflict(f"what is replayed into {task.config.name} changed {MAX_REPLANS} times meanwhile")


class _Attempt:
    """One pass over the letters."""

    def __init__(self, task: _Task, suspects: Suspects) -> None:
        config, lake = task.config, task.lake
        self._task = task
        self._config = config
        self._suspects = suspects
        self._letters = stored_letters(lake, config.name, config.lake, task.wanted)
        self._plan = plan_for(config, read_table_schema(lake, config.lake))
        self._inserted_at = datetime.now(UTC)
        self._places: list[Place] = []
        self._replayed: Counter[str] = Counter()
        self._still_dead: Counter[str] = Counter()
        self._tally = Tally()
        self._copies = Copies()
        self._late: Counter[str] = Counter()
        self._received_bytes = 0

    def tried(self) -> Replayed:
        """What would become of the letters."""
        for letter, body in bodies(self._task.lake, self._config.lake, self._letters):
            self._try(letter, body)
        return replace(self._outcome(), is_dry_run=True)

    def committed(self, lane: LaneState, locks: LaneLock, at: Callable[[Point], None]) -> Replayed:
        """Stage the letters' rows and commit them.

        Raises:
            StageFailed, Replan: try again.
        """
        config, commit_id, started = self._config, str(uuid.uuid4()), datetime.now(UTC)
        with ThreadPoolExecutor(config.parquet.threads, thread_name_prefix="write") as pool:
            stager = Stager(config.lake, config.parquet, pool=pool, commit_id=commit_id, lane=lane.lane)
            try:
                at(Point.FETCHED)
                self._stage(stager)
                at(Point.DECODED)
                rows = stager.finish()
            finally:
                stager.abandon()
        at(Point.STAGED)
        if not self._places:
            return self._outcome()
        change = LetterReplay(
            commit_id=commit_id,
            config=config,
            plan=self._plan,
            rows=rows,
            places=tuple(self._places),
            tally=self._tally,
            copies=self._copies,
            late=dict(self._late),
            received_bytes=self._received_bytes,
            lane=lane,
            run_id=self._task.run_id,
        )
        stage_seconds = (datetime.now(UTC) - started).total_seconds()
        with Committer(config.lake, locks) as committer:
            done = committer.commit(change, at=at)
        at(Point.COMMITTED)
        return replace(self._outcome(), receipt=_receipt(change, done, stage_seconds))

    def _stage(self, stager: Stager) -> None:
        for letter, body in bodies(self._task.lake, self._config.lake, self._letters):
            if self._task.stop.is_set():
                raise Stopped("the replay was asked to end; nothing was changed")
            made = self._try(letter, body)
            for piece in made.slices if made else ():
                stager.append(piece, (letter.partition, letter.offset))
            while stager.buffered_bytes > self._config.max_in_flight_bytes:
                stager.wait_for_progress(_WAIT_SECONDS)

    def _try(self, letter: StoredLetter, body: Body) -> MessageRows | None:
        """The letter's rows, and count it; None: it is refused still."""
        payload = None if body.payload is None else pa.py_buffer(body.payload)
        made = rows_of(payload, self._config, self._plan, _stamp(letter, body, self._inserted_at))
        if not isinstance(made, Rejection) and (letter.partition, letter.offset) in self._suspects:
            made = try_alone(made.slices, self._config.parquet) or made
        if isinstance(made, Rejection):
            self._still_dead[made.reason.value] += 1
            return None
        self._plan = made.plan
        self._places.append(letter.place)
        self._replayed[letter.reason] += 1
        self._tally += Tally(messages=1, rows=made.rows, empty=int(made.rows == 0), nulled=made.nulled)
        self._copies += made.copies
        self._late.update(made.late)
        self._received_bytes += 0 if payload is None else payload.size
        return made

    def _outcome(self) -> Replayed:
        return Replayed(dict(self._replayed), dict(self._still_dead), self._tally.rows)


def _stamp(letter: StoredLetter, body: Body, inserted_at: datetime) -> Stamp:
    return Stamp(
        generation=letter.generation,
        partition=letter.partition,
        offset=letter.offset,
        timestamp_ms=None if letter.timestamp is None else (letter.timestamp - _EPOCH) // _MILLISECOND,
        inserted_at=inserted_at,
        key=lambda: body.key,
        headers=lambda: body.headers,
    )


def _receipt(change: LetterReplay, done: Committed, stage_seconds: float) -> Receipt:
    plan: TablePlan = change.plan
    return Receipt(
        commit_id=change.commit_id,
        pipeline=change.config.name,
        lane=change.lane.lane,
        snapshot_id=done.snapshot_id,
        generation=change.lane.generation,
        ranges=(),
        tally=change.tally,
        touched=done.touched,
        copies=change.copies,
        schema_changes=tuple(str(each) for each in plan.changes),
        bytes_received=change.received_bytes,
        bytes_on_disk=sum(part.size_bytes for part in done.touched),
        files=sum(part.files for part in done.touched),
        stage_seconds=stage_seconds,
        commit_seconds=done.seconds,
        committed_at=done.committed_at,
    )
