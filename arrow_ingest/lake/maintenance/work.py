"""What a step of maintenance works with: the lake, the settings, the lock, and how long it may take."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypeVar

from arrow_ingest.config import PipelineConfig
from arrow_ingest.lake.catalog import LaneLock
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


@dataclass(frozen=True, slots=True)
class Work:
    """One step's tools; every step has a session of its own.

    Args:
        lock: that of maintenance, held.
        deadline: in `time.monotonic` seconds; nothing new is begun after it.
        now: what ages are counted to.
    """

    step: Step
    config: PipelineConfig
    lake: Lake
    lock: LaneLock
    run_id: str
    now: datetime
    deadline: float
    is_dry_run: bool
    at: Callable[[Step, Place], None] = ignore

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

    def once(self, statements: Callable[[], Written]) -> Written:
        """One short transaction in the name of maintenance; afterwards the others have their turn.

        Raises:
            LaneLockLost: another maintenance may be under way.
            CommitConflict, CatalogUnavailable: as `Lake.transaction`.
        """
        self.lock.check()
        with self.lake.transaction():
            written = self._marked(statements)
        self._pause()
        return written

    def write(self, statements: Callable[[], Written]) -> Written:
        """The same, tried again when another transaction was first: see `Lake.write`."""
        self.lock.check()
        written = self.lake.write(lambda: self._marked(statements))
        self._pause()
        return written

    def sign(self, message: str) -> None:
        """Say in the open transaction's snapshot who makes it and why."""
        extra = json.dumps({"run_id": self.run_id, "pipeline": self.config.name, "step": self.step.value})
        text = f"maintenance: {self.config.name}: {message}"
        self.lake.execute(f"CALL {LAKE}.set_commit_message(?, ?, extra_info => ?)", ["arrow_ingest", text, extra])

    def _marked(self, statements: Callable[[], Written]) -> Written:
        self.at(self.step, Place.BEGUN)
        written = statements()
        self.at(self.step, Place.WRITTEN)
        return written

    def _pause(self) -> None:
        self.at(self.step, Place.COMMITTED)
        time.sleep(TURN_SECONDS)
