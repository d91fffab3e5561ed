"""A person's query in, its rows out; nothing else is run.

A read-only attachment alone does not keep files from being written: COPY may write below the data path, over a table's
own files even. And table functions of DuckLake change it from within a SELECT: ``ducklake_cleanup_old_files`` deletes
files, whatever the attachment says.
"""

import json
from collections.abc import Iterator
from typing import Any

import duckdb
import pyarrow as pa

from arrow_ingest.errors import StatementRefused
from arrow_ingest.lake.engine_errors import wrapped
from arrow_ingest.lake.session import Lake
from arrow_ingest.lake.sql import LAKE, quoted

_OF_THE_LAKE = frozenset(
    {
        "current_snapshot",
        "last_committed_snapshot",
        "list_files",
        "options",
        "settings",
        "snapshots",
        "table_changes",
        "table_deletions",
        "table_info",
        "table_insertions",
    }
)
"""Called as ``ducklake_snapshots('lake')`` or ``lake.snapshots()``."""

_OF_DUCKDB = frozenset(
    {
        "duckdb_columns",
        "duckdb_constraints",
        "duckdb_databases",
        "duckdb_extensions",
        "duckdb_functions",
        "duckdb_keywords",
        "duckdb_memory",
        "duckdb_schemas",
        "duckdb_settings",
        "duckdb_tables",
        "duckdb_types",
        "duckdb_views",
        "generate_series",
        "glob",
        "histogram",
        "histogram_values",
        "json_each",
        "json_tree",
        "parquet_bloom_probe",
        "parquet_file_metadata",
        "parquet_full_metadata",
        "parquet_kv_metadata",
        "parquet_metadata",
        "parquet_scan",
        "parquet_schema",
        "pg_timezone_names",
        "pragma_database_size",
        "pragma_show",
        "pragma_storage_info",
        "pragma_table_info",
        "pragma_version",
        "range",
        "read_parquet",
        "repeat",
        "repeat_row",
        "summary",
        "unnest",
    }
)
"""Read files below the data path, or no file at all. Not in the list: what runs text as SQL (``query``,
``sqlite_query``, ``json_execute_serialized_sql``), reads raw pointers (``arrow_scan``) or changes something.
"""

_READ_ONLY = _OF_DUCKDB | _OF_THE_LAKE | {f"ducklake_{name}" for name in _OF_THE_LAKE}


def query(lake: Lake, text: str, *, schema: str = "main") -> pa.Table:
    """Run one query; names without a schema are looked up in ``schema`` of the lake.

    Raises:
        StatementRefused: the text is not one query, or DuckDB refuses it.
        CatalogUnavailable: catalog or data cannot be read.
    """
    check_is_query(text)
    check_functions(lake, text)
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


def parameters_of(text: str) -> frozenset[str]:
    """The names of the parameters of one statement, those by place by their number.

    >>> sorted(parameters_of("SELECT $start, $stop, $start"))
    ['start', 'stop']

    Raises:
        StatementRefused: it is no SQL.
    """
    try:
        return frozenset(name for statement in duckdb.extract_statements(text) for name in statement.named_parameters)
    except duckdb.Error as error:
        raise wrapped(error, "the query") from error


def check_functions(lake: Lake, text: str) -> None:
    """Refuse a query that calls a table function which is not known to read only. DuckDB's own parser finds them.

    Raises:
        StatementRefused: it does, or DuckDB cannot say.
    """
    [(serialized,)] = lake.execute("SELECT json_serialize_sql(?)", [text])
    tree = json.loads(serialized)
    if tree["error"]:
        raise StatementRefused(f"the query cannot be checked: {tree['error_message']}")
    if unknown := sorted(set(_table_functions(tree)) - _READ_ONLY):
        raise StatementRefused(
            f"{', '.join(unknown)}() cannot be called here: only table functions that are known to read only can"
        )


def _table_functions(node: Any) -> Iterator[str]:
    """The names of all table functions below a node of the syntax tree, in small letters."""
    children: list[Any] = []
    if isinstance(node, dict):
        if node.get("type") == "TABLE_FUNCTION":
            yield node["function"]["function_name"].lower()
        children = list(node.values())
    elif isinstance(node, list):
        children = node
    for child in children:
        yield from _table_functions(child)
