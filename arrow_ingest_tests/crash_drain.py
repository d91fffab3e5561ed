"""Drains one lane and, on request, kills itself at a labelled point or waits there: the crash tests' subject.

Usage: ``python -m arrow_ingest_tests.crash_drain PIPELINE_JSON [POINT [OCCURRENCE [SIGNAL] | wait]]``

With an occurrence (1 by default) it sends itself the signal (SIGKILL by default; SIGTERM is taken as the command line
takes it); with ``wait`` it prints ``waiting`` and goes on at the next line of its standard input. An error of ours is
printed by its class and gives exit code 1.
"""

import json
import os
import signal
import sys
from collections.abc import Callable, Iterable, Sequence

from arrow_ingest.cli.signals import stop_on_signals
from arrow_ingest.config import PipelineConfig
from arrow_ingest.errors import ArrowIngestError
from arrow_ingest.pipeline.drain import drain
from arrow_ingest.values import Point, Receipt


def observer(arguments: Sequence[str]) -> Callable[[Point], None]:
    """What dies or waits at the point that the arguments name."""
    point = Point(arguments[0]) if arguments else None
    waits = list(arguments[1:]) == ["wait"]
    left = 1 if waits or len(arguments) < 2 else int(arguments[1])
    deadly = signal.Signals[arguments[2]] if len(arguments) > 2 else signal.SIGKILL

    def at(reached: Point) -> None:
        nonlocal left
        if reached is point:
            left -= 1
            if left == 0 and waits:
                print("waiting", flush=True)
                sys.stdin.readline()
            elif left == 0:
                os.kill(os.getpid(), deadly)

    return at


def tell(receipts: Iterable[Receipt | None]) -> None:
    """Print every receipt, and at last an error of ours."""
    try:
        for receipt in receipts:
            if receipt is not None:
                print(receipt.log_line(), flush=True)
    except ArrowIngestError as error:
        print(f"{type(error).__name__}: {error}", flush=True)
        sys.exit(1)


def main() -> None:
    config = PipelineConfig.model_validate(json.loads(sys.argv[1]))
    with stop_on_signals() as stop:
        tell(drain(config, run_id="crash-test", stop=stop, at=observer(sys.argv[2:])))


if __name__ == "__main__":
    main()
