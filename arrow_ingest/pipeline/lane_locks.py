"""A pipeline's lanes in, all of their locks held: nobody drains it until the block ends."""

import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from arrow_ingest.config import PipelineConfig
from arrow_ingest.errors import LaneBusy
from arrow_ingest.lake.catalog import LaneLock, catalog_of
from arrow_ingest.values import LaneState

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
"""How often a lane that is being drained is tried again; the sensor leaves it alone for several seconds."""

MARGIN_SECONDS = 60.0
"""What a run may take for its last commit and publication, beyond `run.max_run_seconds`."""


@dataclass(frozen=True, slots=True)
class LaneLocks:
    """The locks of several lanes, held together."""

    locks: tuple[LaneLock, ...]

    def check(self) -> None:
        """Make sure that all of them still are.

        Raises:
            LaneLockLost: one is not.
        """
        for lock in self.locks:
            lock.check()


@contextmanager
def holding_lanes(
    config: PipelineConfig, lanes: Iterable[LaneState], *, run_id: str, wait_seconds: float
) -> Iterator[LaneLocks]:
    """Hold the locks of the lanes of the YAML and of the lake, each taken as soon as the run that has it ends.

    Raises:
        LaneBusy: a run drains a lane and did not end in time.
        CatalogUnavailable: the catalog's server cannot be reached.
    """
    deadline = time.monotonic() + wait_seconds
    with ExitStack() as held:
        numbers = range(max(config.lanes, *(state.layout for state in lanes), 1))
        yield LaneLocks(tuple(held.enter_context(_waited(config, lane, run_id, deadline)) for lane in numbers))


def longest_run_seconds(config: PipelineConfig) -> float:
    """How long a run that drains a lane now may still live."""
    return config.run.max_run_seconds + MARGIN_SECONDS


@contextmanager
def _waited(config: PipelineConfig, lane: int, run_id: str, deadline: float) -> Iterator[LaneLock]:
    """One lane's lock; ``deadline`` is in `time.monotonic` seconds."""
    is_told = False
    while True:
        lock = catalog_of(config.lake).lane_lock(config.name, lane, holder=run_id)
        with ExitStack() as held:
            try:
                taken = held.enter_context(lock)
            except LaneBusy as busy:
                if time.monotonic() >= deadline:
                    raise
                if not is_told:
                    log.info("%s: waiting for its end", busy)
                    is_told = True
            else:
                yield taken
                return
        time.sleep(POLL_SECONDS)
