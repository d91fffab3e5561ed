"""Dagster's UI over the running demo, in a real browser: `make test-ui`; plain `make test` does not collect it."""
