"""A change in, one snapshot out: of a micro-batch the transaction that holds rows, dead letters and offsets together.

It fences the lane's row, changes the table if need be, adds the rows and appends to the ledger; `replay_commit` and
`rebuild_commit` are changes of other kinds. Staged files are there already: such a transaction is short and makes no
file of its own, so no rollback can delete one that a lost COMMIT had made part of a snapshot (FACTS). After any failure
a new connection looks the commit up in the ledger: only what is not there is tried again, with the same ``commit_id``,
and the fence lets one of several attempts through.
"""

import json
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import NamedTuple, Protocol, Self

from arrow_ingest.config import LakeConfig, PipelineConfig
from arrow_ingest.errors import (
    CatalogUnavailable,
    CommitConflict,
    LaneFenced,
    OutcomeUnknown,
    Replan,
    StagedTooLongAgo,
)
from arrow_ingest.lake import late_rows, ledger
from arrow_ingest.lake.catalog import LaneLock
from arrow_ingest.lake.dead_letters import dead_letter_table
from arrow_ingest.lake.engine import CATALOG_THREADS
from arrow_ingest.lake.lanes import move_lane
from arrow_ingest.lake.ledger import LedgerRow
from arrow_ingest.lake.new_rows import NewRows, add_files
from arrow_ingest.lake.retry import pause_seconds
from arrow_ingest.lake.schema import TablePlan
from arrow_ingest.lake.session import Lake, open_lake
from arrow_ingest.lake.sql import LAKE, change_table, in_lake
from arrow_ingest.lake.tables import read_table_schema
from arrow_ingest.maintenance_settings import ORPHAN_DAYS
from arrow_ingest.values import (
    CommitKind,
    Copies,
    LaneState,
    OffsetRange,
    Point,
    StagedFile,
    Tally,
    TouchedPartition,
    ignore,
)

STALE_AFTER = timedelta(days=ORPHAN_DAYS) / 4
"""A quarter of orphan removal's guard: an older staged file is staged again, lest it be removed while it is added."""

MAX_ATTEMPTS = 10
RETRY_SECONDS = 60.0
"""No attempt begins later than this after the first one."""


class Change(Protocol):
    """What one transaction does, as often as it has to be tried."""

    @property
    def commit_id(self) -> str:
        """Kept over all attempts; names the change in the ledger."""
        ...

    @property
    def staged_at(self) -> datetime | None:
        """When the oldest of its files was begun; None: it has none."""
        ...

    def write(self, lake: Lake, committed_at: datetime, at: Callable[[Point], None]) -> tuple[TouchedPartition, ...]:
        """All that the transaction does, its ledger row included; what it adds to which table partition.

        Raises:
            LaneFenced, Replan: what it was made from is no longer so.
            StageFailed: the catalog refuses a file.
            CommitConflict, CatalogUnavailable: the transaction is lost.
        """
        ...


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """What one transaction commits.

    Args:
        commit_id: kept over all attempts; names the batch in the ledger.
        before: the lane's row that the batch was read from; the fence.
        after: the row as the commit leaves it.
        plan: what the rows were conformed to.
        late: rows that came late, by table partition.
        last_commit_seconds: how long the run's commit before this one took; None: it is the first. A commit cannot say
            in its own transaction how long it takes.
    """

    commit_id: str
    config: PipelineConfig
    before: LaneState
    after: LaneState
    plan: TablePlan
    rows: NewRows
    dead_letter_file: StagedFile | None
    ranges: tuple[OffsetRange, ...]
    tally: Tally
    run_id: str
    kind: CommitKind = CommitKind.INGEST
    bytes_received: int = 0
    copies: Copies = field(default_factory=Copies)
    late: Mapping[str, int] = field(default_factory=dict)
    last_commit_seconds: float | None = None

    @property
    def staged_at(self) -> datetime | None:
        """When the oldest of its files was begun."""
        letters = None if self.dead_letter_file is None else self.dead_letter_file.staged_at
        return min((at for at in (self.rows.staged_at, letters) if at is not None), default=None)

    def write(self, lake: Lake, committed_at: datetime, at: Callable[[Point], None]) -> tuple[TouchedPartition, ...]:
        """Fence, schema, rows, dead letters, ledger. The fence comes first, so that nothing rests on a stale row."""
        move_lane(lake, self.before, self.after)
        at(Point.FENCED)
        apply_plan(lake, self.config, self.plan)
        touched = self.rows.add_to(lake, self.config.lake)
        if self.dead_letter_file is not None:
            letters = dead_letter_table(self.config.lake.table)
            add_files(lake, self.config.lake.schema_name, letters, [self.dead_letter_file])
        at(Point.FILES_ADDED)
        append_to_history(lake, _ledger_row(self, touched, committed_at), last_commit_seconds=self.last_commit_seconds)
        late_rows.append(lake, self.config.name, self.commit_id, self.late)
        at(Point.LEDGER_WRITTEN)
        return touched


@dataclass(frozen=True, slots=True)
class Committed:
    """A commit that landed.

    Args:
        seconds: from its first BEGIN to the answer, all attempts included.
    """

    snapshot_id: int
    committed_at: datetime
    touched: tuple[TouchedPartition, ...]
    seconds: float
    attempts: int


class _Landed(NamedTuple):
    """What the lake says of a commit."""

    snapshot_id: int
    committed_at: datetime
    touched: tuple[TouchedPartition, ...]


class Committer:
    """Commits changes over one session, which it opens on the first commit and again after any error.

    A session costs what a dozen commits do: whoever has one hands it over.

    Args:
        lane_lock: looked at before each transaction; None: the caller relies on the fence alone.
        session: to begin with; it is closed with the committer.
        threads: of a session of its own; more than the default only where DuckDB writes the rows itself.
        opens: the lake, each time that a session of its own is needed.
        waits: so many seconds, before it tries again.
        finds: looks up what became of a commit, by its id: snapshot, time and partitions; by default in the ledger.
    """

    def __init__(
        self,
        lake: LakeConfig,
        lane_lock: LaneLock | None = None,
        *,
        session: Lake | None = None,
        threads: int = CATALOG_THREADS,
        opens: Callable[..., Lake] = open_lake,
        waits: Callable[[float], object] = time.sleep,
        finds: Callable[[Lake, str], tuple[int, datetime, tuple[TouchedPartition, ...]] | None] | None = None,
    ) -> None:
        self._lane_lock = lane_lock
        self._opens = partial(opens, lake, threads=threads)
        self._waits = waits
        self._finds = finds or _in_ledger
        self._lake = session
        self._is_unanswered = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the session; the next commit opens another one."""
        if self._lake is not None:
            self._lake.close()
            self._lake = None

    def commit(
        self, change: Change, *, at: Callable[[Point], None] = ignore, stale_after: timedelta = STALE_AFTER
    ) -> Committed:
        """Make the change one snapshot, once, however often it has to be tried.

        Raises:
            LaneFenced: a lane's row is not what the change was made from; nothing was committed.
            LaneLockLost: another run may have the lane; nothing was committed.
            Replan: the table is not what it was made for; nothing was committed, stage again.
            StagedTooLongAgo: the same, because of the files' age.
            StageFailed: the catalog refuses a file; nothing was committed.
            CommitConflict, CatalogUnavailable: every attempt failed; nothing was committed.
            OutcomeUnknown: COMMIT was sent, and the catalog could not be asked since.
        """
        started = time.monotonic()
        self._is_unanswered = False
        attempt = 0
        while True:
            attempt += 1
            try:
                row = self._landed(change) if attempt > 1 else None
                if row is None:
                    check_age(change.staged_at, datetime.now(UTC), stale_after)
                    if self._lane_lock is not None:
                        self._lane_lock.check()
                    row = self._attempt(change, at, stale_after)
                return Committed(*row, seconds=time.monotonic() - started, attempts=attempt)
            except (CommitConflict, CatalogUnavailable) as failure:
                self.close()
                self._is_unanswered &= not isinstance(failure, CommitConflict)  # a lost race is an answer
                pause = pause_seconds(attempt, random.random())  # noqa: S311 - spreads attempts; nothing is secret
                if attempt == MAX_ATTEMPTS or time.monotonic() + pause - started > RETRY_SECONDS:
                    if self._is_unanswered:
                        raise OutcomeUnknown(change.commit_id, str(failure)) from failure
                    raise
            except BaseException:
                self.close()
                raise
            self._waits(pause)

    def _attempt(self, change: Change, at: Callable[[Point], None], stale_after: timedelta) -> _Landed:
        """One transaction. Its end looks at the files' age again: the process may have stood still since its begin."""
        lake = self._session()
        committed_at = datetime.now(UTC)
        try:
            with lake.transaction():
                at(Point.BEGUN)
                touched = change.write(lake, committed_at, at)
                check_age(change.staged_at, datetime.now(UTC), stale_after)
                self._is_unanswered = True
        except (LaneFenced, Replan):
            # An earlier COMMIT of ours, in flight when it was looked up, may be who moved the row.
            if (row := self._landed(change)) is None:
                raise
            return row
        ((snapshot_id,),) = lake.execute("SELECT id FROM ducklake_last_committed_snapshot(?)", [LAKE])
        self._is_unanswered = False
        return _Landed(snapshot_id, committed_at, touched)

    def _landed(self, change: Change) -> _Landed | None:
        """What the lake says of the commit, None if it is not in it."""
        found = self._finds(self._session(), change.commit_id)
        self._is_unanswered = False
        return None if found is None else _Landed(*found)

    def _session(self) -> Lake:
        if self._lake is None:
            self._lake = self._opens()
        return self._lake


def _in_ledger(lake: Lake, commit_id: str) -> tuple[int, datetime, tuple[TouchedPartition, ...]] | None:
    entry = ledger.find(lake, commit_id)
    return None if entry is None else (entry.snapshot_id, entry.committed_at, entry.touched)


def check_age(staged_at: datetime | None, now: datetime, stale_after: timedelta) -> None:
    """Refuse files that orphan removal could take.

    Raises:
        StagedTooLongAgo: they are older than ``stale_after``.
    """
    if staged_at is not None and now - staged_at > stale_after:
        raise StagedTooLongAgo(f"files staged at {staged_at:%Y-%m-%d %H:%M} UTC are too old to be committed safely")


def apply_plan(lake: Lake, config: PipelineConfig, plan: TablePlan) -> None:
    """Change the table as the plan says, in the open transaction.

    Raises:
        Replan: it is not the table that the plan was made for.
    """
    schema, table = config.lake.schema_name, config.lake.table
    if read_table_schema(lake, config.lake) != plan.base:
        raise Replan(f"table {schema}.{table} was changed since the rows were staged")
    for change in plan.changes:
        for text in change_table(in_lake(schema, table), change, config.partition_by):
            lake.execute(text)


def append_to_history(lake: Lake, row: LedgerRow, *, last_commit_seconds: float | None = None) -> None:
    """The ledger's row, and who and why beside the snapshot, in the open transaction.

    The commit message is for whoever looks at `ducklake_snapshots`, and for `lake.commit_times`; the ledger is what
    lasts.
    """
    ledger.append(lake, row)
    extra = {
        "commit_id": row.commit_id,
        "run_id": row.run_id,
        "pipeline": row.pipeline,
        "lane": row.lane,
        "generation": row.generation,
        "ranges": [[part.partition, part.start, part.stop] for part in row.ranges],
        "last_commit_seconds": None if last_commit_seconds is None else round(last_commit_seconds, 4),
    }
    tally = row.tally
    message = f"{row.kind.value}: {row.pipeline}, lane {row.lane}: {tally.rows} rows of {tally.messages} messages"
    lake.execute(f"CALL {LAKE}.set_commit_message(?, ?, extra_info => ?)", ["arrow_ingest", message, json.dumps(extra)])


def _ledger_row(batch: MicroBatch, touched: tuple[TouchedPartition, ...], committed_at: datetime) -> LedgerRow:
    return LedgerRow(
        commit_id=batch.commit_id,
        pipeline=batch.before.pipeline,
        lane=batch.before.lane,
        generation=batch.after.generation,
        topic_id=batch.after.topic_id,
        ranges=batch.ranges,
        tally=batch.tally,
        touched=touched,
        kind=batch.kind,
        run_id=batch.run_id,
        committed_at=committed_at,
        bytes_received=batch.bytes_received,
        bytes_copied=batch.copies.copied_bytes,
        bytes_cast=batch.copies.cast_bytes,
    )
