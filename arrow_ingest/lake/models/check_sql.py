"""A check of a model to a query that counts the rows which fail it, and its parameters. Pure."""

from arrow_ingest.lake.sql import quoted
from arrow_ingest.model_settings import ModelCheck

ROWS = "model"
"""What a check calls the rows of one table partition."""


def bad_rows(check: ModelCheck) -> tuple[str, list[object]]:
    """The query that gives the rows which fail a check, over `ROWS`.

    >>> bad_rows(ModelCheck(not_null=("day", "event")))
    ('SELECT 1 FROM model WHERE "day" IS NULL OR "event" IS NULL', [])
    >>> bad_rows(ModelCheck(accepted_range={"column": "users", "min": 0}))
    ('SELECT 1 FROM model WHERE "users" < ?', [0.0])
    >>> bad_rows(ModelCheck(unique=("event",)))
    ('SELECT 1 FROM model GROUP BY "event" HAVING count(*) > 1', [])
    """
    if check.not_null:
        nulls = " OR ".join(f"{quoted(name)} IS NULL" for name in check.not_null)
        return f"SELECT 1 FROM {ROWS} WHERE {nulls}", []
    if check.unique:
        names = ", ".join(quoted(name) for name in check.unique)
        return f"SELECT 1 FROM {ROWS} GROUP BY {names} HAVING count(*) > 1", []
    if check.accepted_range is not None:
        column = quoted(check.accepted_range.column)
        limits = {"<": check.accepted_range.min, ">": check.accepted_range.max}
        given = {sign: limit for sign, limit in limits.items() if limit is not None}
        outside = " OR ".join(f"{column} {sign} ?" for sign in given)
        return f"SELECT 1 FROM {ROWS} WHERE {outside}", list(given.values())
    if check.accepted_values is not None:
        values = check.accepted_values.values
        listed = ", ".join("?" for _ in values)
        return f"SELECT 1 FROM {ROWS} WHERE {quoted(check.accepted_values.column)} NOT IN ({listed})", list(values)
    return (check.bad_rows or "").rstrip().rstrip(";"), []


def counting(check: ModelCheck, source: str) -> tuple[str, list[object]]:
    """The query that counts them.

    Args:
        source: what stands behind FROM for the rows of one table partition.

    A line of its own ends a comment that the query may end with.
    """
    text, parameters = bad_rows(check)
    return f"WITH {ROWS} AS (SELECT * FROM {source}) SELECT count(*) FROM (\n{text}\n)", parameters
