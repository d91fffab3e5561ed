"""A step's statements in, each transaction of them out once: also when the answer to its COMMIT is lost.

As with a commit of a lane, a new session looks up what became of it: each attempt signs its snapshot, and only what no
snapshot bears the mark of is tried again. Expiry, clean-up and settings make no snapshot, so there is no mark to be
found: their statements look at what is there first, and doing them twice is doing them once.
"""

import json
import random
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Generic, Self, TypeVar

from arrow_ingest.config import PipelineConfig
from arrow_ingest.errors import CatalogUnavailable, CommitConflict, OutcomeUnknown, StatementRefused
from arrow_ingest.lake.catalog import LaneLock
from arrow_ingest.lake.commit import MAX_ATTEMPTS, RETRY_SECONDS
from arrow_ingest.lake.retry import pause_seconds
from arrow_ingest.lake.session import Lake
from arrow_ingest.lake.sql import LAKE
from arrow_ingest.maintenance_settings import Maintenance, Step

Written = TypeVar("Written")

TURN_SECONDS = 0.05
"""Between two transactions: on SQLite a lane that waits for its turn looks for it every 20 ms at least."""


class Place(StrEnum):
    """Labelled places of a step's transaction, in order; crash tests stop the process there."""

    BEGUN = "begun"
    WRITTEN = "written"
    COMMITTED = "committed"


def ignore(step: Step, place: Place) -> None:
    """The observer of production: does nothing."""


_MARKED = """
SELECT snapshot_id FROM ducklake_snapshots(?) WHERE contains(commit_extra_info, ?)
"""


@dataclass(slots=True)
class Work:
    """One step's tools; a context manager, which ends the step's session.

    Args:
        opened: opens a session of the lake; the first one, and another after each error.
        lock: that of maintenance, held.
        deadline: in `time.monotonic` seconds; nothing new is begun after it.
        now: what ages are counted to.
    """

    step: Step
    config: PipelineConfig
    opened: Callable[[], Lake]
    lock: LaneLock
    run_id: str
    now: datetime
    deadline: float
    is_dry_run: bool
    at: Callable[[Step, Place], None] = ignore
    _lake: Lake | None = field(default=None, init=False)
    _mark: str = field(default="", init=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the session; whatever comes next opens another one."""
        if self._lake is not None:
            self._lake.close()
            self._lake = None

    @property
    def lake(self) -> Lake:
        """The session; ask for it each time, since a transaction that fails ends it.

        Raises:
            CatalogUnavailable: it cannot be opened.
        """
        if self._lake is None:
            self._lake = self.opened()
        return self._lake

    @property
    def settings(self) -> Maintenance:
        """The YAML's ``maintenance``."""
        return self.config.maintenance

    @property
    def has_time(self) -> bool:
        """Whether something new may be begun."""
        return time.monotonic() < self.deadline

    def lock_deadline(self) -> float:
        """Until when to wait for a lane's lock, in `time.monotonic` seconds."""
        return min(self.deadline, time.monotonic() + self.settings.lock_wait_seconds)

    def execute(self, text: str, parameters: Sequence[object] = ()) -> None:
        """Run one statement by whatever session there is then: what `write` may call again."""
        self.lake.execute(text, parameters)

    def write(self, statements: Callable[[], Written]) -> Written:
        """One short transaction in the name of maintenance, once; afterwards the others have their turn.

        Args:
            statements: called again for every attempt. They look at what is there before they change it.

        Raises:
            LaneLockLost: another maintenance may be under way.
            CommitConflict, CatalogUnavailable: every attempt failed; nothing was committed.
            OutcomeUnknown: COMMIT was sent, and the catalog could not be asked since.
        """
        tries = _Tries[Written](started=time.monotonic())
        while True:
            tries.count += 1
            try:
                written = self._attempt(statements, tries)
            except (CommitConflict, CatalogUnavailable) as failure:
                self.close()
                time.sleep(tries.pause_after(failure))
            else:
                self.at(self.step, Place.COMMITTED)
                time.sleep(TURN_SECONDS)
                return written

    def sign(self, message: str) -> None:
        """Say in the open transaction's snapshot who makes it and why, and which attempt it is."""
        extra = {"run_id": self.run_id, "pipeline": self.config.name, "step": self.step.value, "mark": self._mark}
        text = f"maintenance: {self.config.name}: {message}"
        self.lake.execute(
            f"CALL {LAKE}.set_commit_message(?, ?, extra_info => ?)", ["arrow_ingest", text, json.dumps(extra)]
        )

    def _attempt(self, statements: Callable[[], Written], tries: "_Tries[Written]") -> Written:
        """One transaction, unless an earlier one landed."""
        if (landed := self._landed(tries)) is not None:
            return tries.written[landed]
        self.lock.check()
        self._mark = str(uuid.uuid4())
        try:
            with self.lake.transaction():
                self.at(self.step, Place.BEGUN)
                written = tries.written[self._mark] = statements()
                self.at(self.step, Place.WRITTEN)
                tries.is_unanswered = True
        except StatementRefused:
            # An earlier COMMIT of ours, in flight when it was looked up, may have taken away what this one looks for.
            if (landed := self._landed(tries)) is None:
                raise
            return tries.written[landed]
        return written

    def _landed(self, tries: "_Tries[Written]") -> str | None:
        """The mark of the attempt that became a snapshot; None: none did."""
        if tries.count == 1:
            return None
        found = (mark for mark in tries.written if self.lake.execute(_MARKED, [LAKE, mark]))
        landed = next(found, None)
        tries.is_unanswered = False
        return landed


@dataclass(slots=True)
class _Tries(Generic[Written]):
    """The attempts at one transaction.

    Args:
        written: what the statements returned, by the attempt's mark.
        is_unanswered: a COMMIT was sent, and what became of it could not be asked since.
    """

    started: float
    count: int = 0
    written: dict[str, Written] = field(default_factory=dict)
    is_unanswered: bool = False

    def pause_after(self, failure: CommitConflict | CatalogUnavailable) -> float:
        """How many seconds to wait before the next attempt; raises ``failure``, or `OutcomeUnknown`, after the last."""
        self.is_unanswered &= not isinstance(failure, CommitConflict)  # a lost race is an answer
        pause = pause_seconds(self.count, random.random())  # noqa: S311 - spreads attempts; nothing is secret
        if self.count < MAX_ATTEMPTS and time.monotonic() + pause - self.started <= RETRY_SECONDS:
            return pause
        if self.is_unanswered:
            raise OutcomeUnknown(next(reversed(self.written)), str(failure)) from failure
        raise failure
