"""Dagster: the component and the factories behind it. With definitions.py and demo/, the only code that imports dagster."""
