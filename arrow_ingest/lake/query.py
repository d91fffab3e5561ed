"""A person's query in, its rows out; nothing else is run.

A read-only attachment alone does not keep files from being written: COPY may write below the data path, over a table's
own files even.
"""

import duckdb
import pyarrow as pa

from arrow_ingest.errors import StatementRefused
from arrow_ingest.lake.engine_errors import wrapped
from arrow_ingest.lake.session import Lake
from arrow_ingest.lake.sql import LAKE, quoted


def query(lake: Lake, text: str, *, schema: str = "main") -> pa.Table:
    """Run one query; names without a schema are looked up in ``schema`` of the lake.

    Raises:
        StatementRefused: the text is not one query, or DuckDB refuses it.
        CatalogUnavailable: catalog or data cannot be read.
    """
    check_is_query(text)
    lake.execute(f"USE {LAKE}.{quoted(schema)}")
    return lake.arrow(text)


def check_is_query(text: str) -> None:
    """Refuse everything but one query: SELECT, FROM, WITH, VALUES, DESCRIBE, SUMMARIZE or SHOW.

    >>> check_is_query("SELECT 1")
    >>> check_is_query("COPY (SELECT 1) TO 'file'")
    Traceback (most recent call last):
    ...
    arrow_ingest.errors.StatementRefused: only a query can be run here (SELECT, FROM, WITH, ...), and this is COPY

    Raises:
        StatementRefused: it is no SQL, another kind of statement, or not exactly one.
    """
    try:
        statements = duckdb.extract_statements(text)
    except duckdb.Error as error:
        raise wrapped(error, "the query") from error
    if len(statements) != 1:
        raise StatementRefused(f"one query at a time, and these are {len(statements)}")
    kind = statements[0].type
    if kind != duckdb.StatementType.SELECT:
        raise StatementRefused(f"only a query can be run here (SELECT, FROM, WITH, ...), and this is {kind.name}")
