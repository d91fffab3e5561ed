"""A staged micro-batch in, one snapshot out: the short transaction that holds rows, dead letters and offsets together.

The files are there already. The transaction fences the lane's row, changes the table if need be, adds the files and
appends to the ledger; it makes no file of its own, so no rollback can delete one that a lost COMMIT had made part of a
snapshot (FACTS). After any failure a new connection looks the commit up in the ledger: only what is not there is tried
again, with the same ``commit_id``, and the fence lets one of several attempts through.
"""

import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Self

from arrow_ingest.config import LakeConfig, PipelineConfig
from arrow_ingest.errors import (
    CatalogUnavailable,
    CommitConflict,
    LaneFenced,
    OutcomeUnknown,
    Replan,
    StagedTooLongAgo,
    StageFailed,
    StatementRefused,
)
from arrow_ingest.lake import ledger
from arrow_ingest.lake.catalog import LaneLock
from arrow_ingest.lake.dead_letters import dead_letter_table
from arrow_ingest.lake.lanes import move_lane
from arrow_ingest.lake.ledger import LedgerRow
from arrow_ingest.lake.retry import pause_seconds
from arrow_ingest.lake.schema import TablePlan
from arrow_ingest.lake.session import Lake, open_lake
from arrow_ingest.lake.sql import LAKE, change_table, in_lake
from arrow_ingest.lake.tables import read_table_schema
from arrow_ingest.values import (
    CommitKind,
    Copies,
    LaneState,
    OffsetRange,
    Point,
    StagedFile,
    Tally,
    ignore,
    touched_partitions,
)

STALE_AFTER = timedelta(days=7) / 4
"""A quarter of orphan removal's guard: an older staged file is staged again, lest it be removed while it is added."""

MAX_ATTEMPTS = 10
RETRY_SECONDS = 60.0
"""No attempt begins later than this after the first one."""


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """What one transaction commits.

    Args:
        commit_id: kept over all attempts; names the batch in the ledger.
        before: the lane's row that the batch was read from; the fence.
        after: the row as the commit leaves it.
        plan: what the files were staged for.
        files: of the table; `dead_letter_file` is of its dead letters.
    """

    commit_id: str
    config: PipelineConfig
    before: LaneState
    after: LaneState
    plan: TablePlan
    files: tuple[StagedFile, ...]
    dead_letter_file: StagedFile | None
    ranges: tuple[OffsetRange, ...]
    tally: Tally
    run_id: str
    kind: CommitKind = CommitKind.INGEST
    bytes_received: int = 0
    copies: Copies = field(default_factory=Copies)

    @property
    def staged_at(self) -> datetime | None:
        """When the oldest of its files was begun."""
        letters = () if self.dead_letter_file is None else (self.dead_letter_file,)
        return min((file.staged_at for file in (*self.files, *letters)), default=None)


@dataclass(frozen=True, slots=True)
class Committed:
    """A commit that landed.

    Args:
        seconds: from its first BEGIN to the answer, all attempts included.
    """

    snapshot_id: int
    committed_at: datetime
    seconds: float
    attempts: int


class Committer:
    """Commits micro-batches over one session, which it opens on the first commit and again after any error.

    Args:
        lane_lock: looked at before each transaction; None: the caller relies on the fence alone.
    """

    def __init__(self, lake: LakeConfig, lane_lock: LaneLock | None = None) -> None:
        self._config = lake
        self._lane_lock = lane_lock
        self._lake: Lake | None = None
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
        self, batch: MicroBatch, *, at: Callable[[Point], None] = ignore, stale_after: timedelta = STALE_AFTER
    ) -> Committed:
        """Make the micro-batch one snapshot, once, however often it has to be tried.

        Raises:
            LaneFenced: the lane's row is not ``batch.before``; nothing was committed.
            LaneLockLost: another run may have the lane; nothing was committed.
            Replan: the table is not ``batch.plan.base``; nothing was committed, stage again from the log.
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
                row = self._landed(batch) if attempt > 1 else None
                if row is None:
                    check_age(batch.staged_at, datetime.now(UTC), stale_after)
                    if self._lane_lock is not None:
                        self._lane_lock.check()
                    row = self._attempt(batch, at)
                return Committed(*row, seconds=time.monotonic() - started, attempts=attempt)
            except (CommitConflict, CatalogUnavailable) as failure:
                self.close()
                self._is_unanswered &= not isinstance(failure, CommitConflict)  # a lost race is an answer
                pause = pause_seconds(attempt, random.random())  # noqa: S311 - spreads attempts; nothing is secret
                if attempt == MAX_ATTEMPTS or time.monotonic() + pause - started > RETRY_SECONDS:
                    if self._is_unanswered:
                        raise OutcomeUnknown(batch.commit_id, str(failure)) from failure
                    raise
            except BaseException:
                self.close()
                raise
            time.sleep(pause)

    def _attempt(self, batch: MicroBatch, at: Callable[[Point], None]) -> tuple[int, datetime]:
        """One transaction; gives the snapshot id and the ledger row's time."""
        lake = self._session()
        committed_at = datetime.now(UTC)
        try:
            with lake.transaction():
                at(Point.BEGUN)
                _write(lake, batch, committed_at, at)
                self._is_unanswered = True
        except LaneFenced:
            # An earlier COMMIT of ours, in flight when it was looked up, may be who moved the row.
            if (row := self._landed(batch)) is None:
                raise
            return row
        ((snapshot_id,),) = lake.execute("SELECT id FROM ducklake_last_committed_snapshot(?)", [LAKE])
        self._is_unanswered = False
        return snapshot_id, committed_at

    def _landed(self, batch: MicroBatch) -> tuple[int, datetime] | None:
        """Snapshot id and time by the ledger, None if the commit is not in it."""
        entry = ledger.find(self._session(), batch.commit_id)
        self._is_unanswered = False
        return None if entry is None else (entry.snapshot_id, entry.committed_at)

    def _session(self) -> Lake:
        if self._lake is None:
            self._lake = open_lake(self._config)
        return self._lake


def check_age(staged_at: datetime | None, now: datetime, stale_after: timedelta) -> None:
    """Refuse files that orphan removal could take.

    Raises:
        StagedTooLongAgo: they are older than ``stale_after``.
    """
    if staged_at is not None and now - staged_at > stale_after:
        raise StagedTooLongAgo(f"files staged at {staged_at:%Y-%m-%d %H:%M} UTC are too old to be committed safely")


def _write(lake: Lake, batch: MicroBatch, committed_at: datetime, at: Callable[[Point], None]) -> None:
    """All that the transaction does; the fence comes first, so that nothing else is decided on a stale row."""
    config = batch.config.lake
    move_lane(lake, batch.before, batch.after)
    at(Point.FENCED)
    if read_table_schema(lake, config) != batch.plan.base:
        raise Replan(f"table {config.schema_name}.{config.table} was changed since the micro-batch was staged")
    for change in batch.plan.changes:
        for text in change_table(in_lake(config.schema_name, config.table), change, batch.config.partition_by):
            lake.execute(text)
    _add_files(lake, config.schema_name, config.table, batch.files)
    if batch.dead_letter_file is not None:
        _add_files(lake, config.schema_name, dead_letter_table(config.table), [batch.dead_letter_file])
    at(Point.FILES_ADDED)
    ledger.append(lake, _ledger_row(batch, committed_at))
    _set_commit_message(lake, batch)
    at(Point.LEDGER_WRITTEN)


def _add_files(lake: Lake, schema: str, table: str, files: Sequence[StagedFile]) -> None:
    """Add staged files; columns of types that are never staged may be missing in them, and read as NULL."""
    if not files:
        return
    try:
        lake.execute(
            f"CALL ducklake_add_data_files('{LAKE}', ?, ?, schema => ?, allow_missing => true)",
            [table, [file.path for file in files], schema],
        )
    except StatementRefused as refusal:
        raise StageFailed(f"the catalog refuses a staged file: {refusal}") from refusal


def _ledger_row(batch: MicroBatch, committed_at: datetime) -> LedgerRow:
    return LedgerRow(
        commit_id=batch.commit_id,
        pipeline=batch.before.pipeline,
        lane=batch.before.lane,
        generation=batch.after.generation,
        topic_id=batch.after.topic_id,
        ranges=batch.ranges,
        tally=batch.tally,
        touched=touched_partitions(batch.files),
        kind=batch.kind,
        run_id=batch.run_id,
        committed_at=committed_at,
        bytes_received=batch.bytes_received,
        bytes_copied=batch.copies.copied_bytes,
        bytes_cast=batch.copies.cast_bytes,
    )


def _set_commit_message(lake: Lake, batch: MicroBatch) -> None:
    """Who and why, beside the snapshot, for whoever looks at `ducklake_snapshots`; the ledger is what lasts."""
    pipeline, lane = batch.before.pipeline, batch.before.lane
    extra = {
        "commit_id": batch.commit_id,
        "run_id": batch.run_id,
        "pipeline": pipeline,
        "lane": lane,
        "generation": batch.after.generation,
        "ranges": [[part.partition, part.start, part.stop] for part in batch.ranges],
    }
    message = f"{batch.kind.value}: {pipeline}, lane {lane}: {batch.tally.rows} rows of {batch.tally.messages} messages"
    lake.execute(f"CALL {LAKE}.set_commit_message(?, ?, extra_info => ?)", ["arrow_ingest", message, json.dumps(extra)])
