"""Arrow IPC record batches on Kafka to DuckLake tables, exactly once, under Dagster."""

__version__ = "0.1.0"
