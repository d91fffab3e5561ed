"""Pipelines in, numbers for Prometheus out. Reads the lake and asks the broker; changes nothing. No Dagster here."""
