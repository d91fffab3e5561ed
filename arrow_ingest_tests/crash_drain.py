"""Drains one lane and, on request, kills itself by SIGKILL at a labelled point: the crash tests' subject.

Usage: ``python -m arrow_ingest_tests.crash_drain PIPELINE_JSON [POINT [OCCURRENCE]]``
"""

import json
import os
import signal
import sys

from arrow_ingest.config import PipelineConfig
from arrow_ingest.pipeline.drain import drain
from arrow_ingest.values import Point


def main() -> None:
    config = PipelineConfig.model_validate(json.loads(sys.argv[1]))
    point = Point(sys.argv[2]) if len(sys.argv) > 2 else None
    left = int(sys.argv[3]) if len(sys.argv) > 3 else 1

    def at(reached: Point) -> None:
        nonlocal left
        if reached is point:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    for receipt in drain(config, run_id="crash-test", at=at):
        if receipt is not None:
            print(receipt.log_line(), flush=True)


if __name__ == "__main__":
    main()
