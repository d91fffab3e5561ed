"""Our log lines to the run's stderr, which Dagster keeps in a file per step: its event log would cost ms a line."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from arrow_ingest import environment
from arrow_ingest.log_lines import about, formatter

FORMAT = "%(asctime)s %(levelname)s %(message)s"


@contextmanager
def lines_on_stderr(pipeline: str, run_id: str) -> Iterator[None]:
    """Within the block, `arrow_ingest`'s log lines from INFO on go to what is stderr now.

    Args:
        pipeline: what the run is of; or the model.
    """
    logger = logging.getLogger("arrow_ingest")
    level = logger.level
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(FORMAT, as_json=environment.logs_as_json()))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        with about(pipeline=pipeline, run_id=run_id):
            yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)
