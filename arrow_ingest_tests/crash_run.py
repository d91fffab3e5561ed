"""Runs a pipeline's table as Dagster does and, on request, kills itself amid publishing: the crash tests' subject.

Usage: ``python -m arrow_ingest_tests.crash_run PIPELINE_JSON DAGSTER_HOME [EVENTS]``

From its first materialisation on it stores so many of them and of the answers of checks, and dies before the next.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import dagster as dg

from arrow_ingest.config import PipelineConfig
from arrow_ingest_tests.dagster_home import instance_in
from arrow_ingest_tests.dagster_runs import supervised_run

TOLD = dg.DagsterEventType.ASSET_MATERIALIZATION
ANSWERED = dg.DagsterEventType.ASSET_CHECK_EVALUATION


def die_after(events: int) -> None:
    """Let so many events of a publication pass, and no other."""
    store = dg.DagsterInstance.handle_new_event
    stored: list[dg.DagsterEventType] = []

    def handle_new_event(self: dg.DagsterInstance, event: dg.EventLogEntry, **arguments: Any) -> None:
        kind = event.get_dagster_event().event_type if event.is_dagster_event else None
        if kind is TOLD or (kind is ANSWERED and stored):
            if len(stored) == events:
                os.kill(os.getpid(), signal.SIGKILL)
            stored.append(kind)
        store(self, event, **arguments)

    dg.DagsterInstance.handle_new_event = handle_new_event  # type: ignore[method-assign]


def main() -> None:
    settings, home, *events = sys.argv[1:]
    for number in events:
        die_after(int(number))
    with instance_in(Path(home)) as instance:
        is_whole = supervised_run(PipelineConfig.model_validate(json.loads(settings)), instance).success
    sys.exit(0 if is_whole else 1)


if __name__ == "__main__":
    main()
