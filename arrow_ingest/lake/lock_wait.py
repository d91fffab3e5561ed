"""A lock that others may hold in, the same lock out as soon as they let go, or their refusal."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TypeVar

from arrow_ingest.errors import LaneBusy, MaintenanceBusy

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
"""How often a lane that is being drained is tried again; the sensor leaves it alone for several seconds."""

Held = TypeVar("Held")


@contextmanager
def waited_for(take: Callable[[], AbstractContextManager[Held]], *, deadline: float) -> Iterator[Held]:
    """Hold what ``take`` takes, as soon as nobody else does.

    Args:
        take: tries once; it raises `LaneBusy` or `MaintenanceBusy` while another process is the holder.
        deadline: in `time.monotonic` seconds.

    Raises:
        LaneBusy, MaintenanceBusy: another process was the holder until the deadline.
    """
    with ExitStack() as stack:
        yield _taken(stack, take, deadline)


def _taken(stack: ExitStack, take: Callable[[], AbstractContextManager[Held]], deadline: float) -> Held:
    is_told = False
    while True:
        try:
            return stack.enter_context(take())
        except (LaneBusy, MaintenanceBusy) as busy:
            if time.monotonic() >= deadline:
                raise
            if not is_told:
                log.info("%s: waiting for its end", busy)
                is_told = True
            time.sleep(POLL_SECONDS)
