"""A pipeline's lanes in, all of their locks held: nobody drains it until the block ends."""

import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

from arrow_ingest.config import PipelineConfig
from arrow_ingest.lake.catalog import LaneLock, catalog_of
from arrow_ingest.lake.lock_wait import waited_for
from arrow_ingest.values import LaneState

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
    catalog = catalog_of(config.lake)
    takes = (
        partial(catalog.lane_lock, config.name, lane, holder=run_id)
        for lane in range(max(config.lanes, *(state.layout for state in lanes), 1))
    )
    with ExitStack() as held:
        yield LaneLocks(tuple(held.enter_context(waited_for(take, deadline=deadline)) for take in takes))


def longest_run_seconds(config: PipelineConfig) -> float:
    """How long a run that drains a lane now may still live."""
    return config.run.max_run_seconds + MARGIN_SECONDS
