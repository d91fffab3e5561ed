"""A lane that is drained, or a lake that is maintained, again and again until its standard input ends.

Usage: ``python -m arrow_ingest_tests.chaos.busy_process lane NUMBER PIPELINE_JSON``, or ``maintenance 0 PIPELINE_JSON``

Each line of output is what was done, or the class of the error that a run ended with; the next run then tries again, as
Dagster's sensor has it do. An error of another kind ends the process.
"""

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

from arrow_ingest.config import PipelineConfig
from arrow_ingest.errors import ArrowIngestError, LaneBusy, LaneFenced, LaneLockLost, MaintenanceBusy, TransientError
from arrow_ingest.lake.maintenance.report import Outcome
from arrow_ingest.lake.maintenance.run import maintain
from arrow_ingest.pipeline.drain import drain

AGAIN = (TransientError, LaneBusy, LaneFenced, LaneLockLost, MaintenanceBusy)
"""What a run may end with because of faults, and because of its neighbours."""

COMMITTED, MAINTAINED, FAILED = "committed", "maintained", "failed"
PAUSE_SECONDS = 0.2


def drained(config: PipelineConfig, lane: int, stop: threading.Event) -> Iterator[str]:
    """One run of a lane."""
    for receipt in drain(config, lane=lane, run_id=f"lane-{lane}", stop=stop):
        if receipt is not None:
            yield COMMITTED


def maintained(config: PipelineConfig, lane: int, stop: threading.Event) -> Iterator[str]:
    """One maintenance, as if all that was ever written were old."""
    later = datetime.now(UTC) + timedelta(days=40)
    report = maintain(config, run_id="maintenance", now=later)
    for step in report.steps:
        if step.outcome is Outcome.DONE:
            yield f"{MAINTAINED} {step.step}"
        elif step.outcome is Outcome.FAILED:
            yield f"{FAILED} {step.step}: {step.says}"


RUNS: dict[str, Callable[[PipelineConfig, int, threading.Event], Iterator[str]]] = {
    "lane": drained,
    "maintenance": maintained,
}


def main() -> None:
    run, lane, config = RUNS[sys.argv[1]], int(sys.argv[2]), PipelineConfig.model_validate(json.loads(sys.argv[3]))
    stop = threading.Event()

    def wait_for_the_end() -> None:
        sys.stdin.read()
        stop.set()

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    while not stop.is_set():
        try:
            for done in run(config, lane, stop):
                print(done, flush=True)
        except ArrowIngestError as error:
            if not isinstance(error, AGAIN):
                raise
            print(f"{type(error).__name__}: {' '.join(str(error).split())}", flush=True)
        time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    main()
