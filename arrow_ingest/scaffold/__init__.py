"""A name to a Dagster project of a user's own, with one pipeline; the templates of its files lie below `templates/`."""
