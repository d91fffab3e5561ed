"""The environment: the one place where its names appear.

==============================  ======================================================================================
``KAFKA_BOOTSTRAP_SERVERS``     brokers of the packaged pipeline (its YAML has the default)
``ARROW_INGEST_CATALOG``        catalog of the packaged pipeline
``ARROW_INGEST_DATA_PATH``      folder of the packaged pipeline's Parquet files
``ACERO_ALIGNMENT_HANDLING``    set by :func:`prepare`, unless it is set already
==============================  ======================================================================================

A pipeline's YAML may name any other variable as ``{{ env.NAME }}``. Nothing is read when this module is imported.
"""

import os
from collections.abc import Mapping

BOOTSTRAP_SERVERS = "KAFKA_BOOTSTRAP_SERVERS"
CATALOG = "ARROW_INGEST_CATALOG"
DATA_PATH = "ARROW_INGEST_DATA_PATH"

ACERO_ALIGNMENT = "ACERO_ALIGNMENT_HANDLING"


def prepare() -> None:
    """Set what libraries read once, when they are loaded. Entry points call this before anything imports pyarrow.

    Payloads inside librdkafka's receive buffer are not aligned. Arrow reads them correctly, but Acero would write one
    warning per column and batch to stderr.
    """
    os.environ.setdefault(ACERO_ALIGNMENT, "ignore")


def variables() -> Mapping[str, str]:
    """The environment as it is now, as a copy."""
    return dict(os.environ)
