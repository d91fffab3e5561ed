"""Dagster's UI over the running demo, in a real browser, looked at and then operated: `make test-ui`.

Plain `make test` does not collect it.
"""
