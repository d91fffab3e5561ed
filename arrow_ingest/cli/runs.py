"""Names of runs that are not Dagster's."""

import os
import uuid


def new_run_id() -> str:
    """A name for the ledger, for commit messages and for whoever finds the lane locked by us."""
    return f"cli-{os.getpid()}-{uuid.uuid4().hex[:8]}"
