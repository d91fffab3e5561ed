"""Where a crash test's subject dies or waits: labelled points of a drain, and single calls between them."""

import os
import signal
import sys
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any

from arrow_ingest.lake.session import Lake
from arrow_ingest.values import Point


class Call(StrEnum):
    """Calls that a process can be killed before, by how many there were.

    ``STATEMENT`` counts from the first transaction that commits something on; its COMMIT is one of them.
    """

    FSYNC = "fsync"
    STATEMENT = "statement"


def observer(arguments: Sequence[str]) -> Callable[[Point], None]:
    """What dies or waits where the arguments say: ``[POINT|CALL [OCCURRENCE [SIGNAL] | wait]]``.

    With an occurrence (1 by default) it sends itself the signal (SIGKILL by default); with ``wait`` it prints
    ``waiting`` and goes on at the next line of its standard input.
    """
    place = arguments[0] if arguments else None
    waits = list(arguments[1:]) == ["wait"]
    left = 1 if waits or len(arguments) < 2 else int(arguments[1])
    deadly = signal.Signals[arguments[2]] if len(arguments) > 2 else signal.SIGKILL

    def pass_by() -> None:
        nonlocal left
        left -= 1
        if left == 0 and waits:
            print("waiting", flush=True)
            sys.stdin.readline()
        elif left == 0:
            os.kill(os.getpid(), deadly)

    def at(reached: Point) -> None:
        if reached == place:
            pass_by()
        elif place == Call.STATEMENT and reached is Point.BEGUN:
            _watch(Lake, "execute", pass_by)

    if place == Call.FSYNC:
        _watch(os, "fsync", pass_by)
    return at


def _watch(owner: Any, name: str, pass_by: Callable[[], None]) -> None:
    """Have each call pass by first; once, however often it is asked for."""
    call = getattr(owner, name)
    if hasattr(call, "__wrapped__"):
        return

    def watched(*arguments: Any) -> Any:
        pass_by()
        return call(*arguments)

    watched.__wrapped__ = call  # type: ignore[attr-defined]
    setattr(owner, name, watched)
