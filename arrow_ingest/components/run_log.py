"""Our log lines to the run's stderr, which Dagster keeps in a file per step: its event log would cost ms a line."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

FORMAT = "%(asctime)s %(levelname)s %(message)s"


@contextmanager
def lines_on_stderr() -> Iterator[None]:
    """Within the block, `arrow_ingest`'s log lines from INFO on go to what is stderr now."""
    logger = logging.getLogger("arrow_ingest")
    level = logger.level
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(FORMAT))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)
