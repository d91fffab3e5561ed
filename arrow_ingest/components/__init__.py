"""Dagster: the component and the factories behind it. Beside definitions.py and demo/, only this imports dagster."""
