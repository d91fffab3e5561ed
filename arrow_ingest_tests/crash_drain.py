"""Drains one lane and, on request, kills itself at some point or waits there: the crash tests' subject.

Usage: ``python -m arrow_ingest_tests.crash_drain PIPELINE_JSON [POINT|CALL [OCCURRENCE [SIGNAL] | wait]]``

The points are those of `crash_points`; SIGTERM is taken as the command line takes it. An error of ours is printed by
its class and gives exit code 1.
"""

import json
import sys
from collections.abc import Iterable

from arrow_ingest.cli.signals import stop_on_signals
from arrow_ingest.config import PipelineConfig
from arrow_ingest.errors import ArrowIngestError
from arrow_ingest.pipeline.drain import drain
from arrow_ingest.values import Receipt
from arrow_ingest_tests.crash_points import observer


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
