"""Maintains one pipeline and, on request, kills itself at a labelled place: the crash tests' subject.

Usage: ``python -m arrow_ingest_tests.crash_maintenance PIPELINE_JSON NOW STEP [PLACE]``
"""

import json
import os
import signal
import sys
from datetime import datetime

from arrow_ingest.config import PipelineConfig
from arrow_ingest.lake.maintenance.run import maintain
from arrow_ingest.lake.maintenance.work import Place
from arrow_ingest.maintenance_settings import Step


def main() -> None:
    config = PipelineConfig.model_validate(json.loads(sys.argv[1]))
    now, wanted = datetime.fromisoformat(sys.argv[2]), Step(sys.argv[3])
    last = Place(sys.argv[4]) if len(sys.argv) > 4 else None

    def at(step: Step, place: Place) -> None:
        if place is last:
            os.kill(os.getpid(), signal.SIGKILL)

    report = maintain(config, run_id="crash-test", now=now, only=[wanted], at=at)
    print(report.steps, flush=True)
    sys.exit(0 if report.ok else 1)


if __name__ == "__main__":
    main()
