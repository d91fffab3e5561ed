"""Scenarios that measure arrow_ingest against its limits and against what one would use instead."""
