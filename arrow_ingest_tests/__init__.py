"""Tests over real brokers, real lakes and a real Dagster."""
