"""The demo: an embedded broker, a producer, Dagster, and a live view of all three."""
