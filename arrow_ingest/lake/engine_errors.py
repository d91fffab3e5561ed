"""DuckDB's exceptions to ours: the only place that tells them apart."""

import re

import duckdb

from arrow_ingest.errors import ArrowIngestError, CatalogUnavailable, CommitConflict, StatementRefused
from arrow_ingest.lake.s3_errors import outage_by_httpfs

_REFUSED = (duckdb.ProgrammingError, duckdb.DataError, duckdb.NotSupportedError, duckdb.PermissionException)

_LOST_ON_POSTGRESQL = re.compile(
    r"error:\s+(duplicate key value violates unique constraint|could not serialize access|deadlock detected"
    r'|relation "[\w.]*ducklake_inlined_data_\d+_\d+" does not exist)'
)
"""As the server says it, behind the text of the statement; nothing of it was done. The first: two writers chose the
same snapshot id. The last: DuckLake 1.5.5 now and then makes the table of a new table's inlined rows for one version
of the schema, and writes them to that of the next; seen when one transaction made two tables and wrote to a third."""


_CATALOG_NOT_READ = re.compile(
    r"(?:[\w ]+ error: )?(?:attempting to fetch from an unsuccessful query result"
    r"|failed to (?:get|query) [a-z ]{1,60} (?:from|for) ducklake:)"
)
"""How DuckLake's own errors begin that by their class would be the statement's fault, and are the catalog's: it goes on
with a result that it did not get, or cannot say what there is to bind to, as when PostgreSQL is restarted meanwhile. At
the beginning only: further on, values are quoted."""


def is_conflict(error: duckdb.Error) -> bool:
    """Whether another transaction was first, so that the same one may pass when it is tried again.

    A lost race has no class of its own: SQLite says that the database is locked, DuckLake and DuckDB speak of a
    conflict, PostgreSQL of a key that is there already (DuckLake tries that ten times over by itself) or of access that
    cannot be serialized.

    >>> is_conflict(duckdb.TransactionException("Failed to flush changes into DuckLake: database is locked"))
    True
    >>> is_conflict(duckdb.TransactionException('ERROR:  relation "public.ducklake_inlined_data_14_9" does not exist'))
    True
    >>> is_conflict(duckdb.ParserException('syntax error at or near "conflict"'))
    False
    """
    if is_refusal(error):
        return False
    text = str(error).lower()
    if "database is locked" in text or _LOST_ON_POSTGRESQL.search(text):
        return True
    return isinstance(error, duckdb.TransactionException) and "conflict" in text


def is_refusal(error: duckdb.Error) -> bool:
    """Whether the statement itself is at fault, its text or its data, so that it is refused again.

    >>> is_refusal(duckdb.BinderException("no column x"))
    True
    >>> is_refusal(duckdb.InvalidInputException("Attempting to fetch from an unsuccessful query result"))
    False
    >>> is_refusal(duckdb.BinderException("Binder Error: Failed to query most recent snapshot for DuckLake: gone"))
    False
    >>> is_refusal(duckdb.BinderException("Binder Error: Failed to get data file list from DuckLake: gone"))
    False
    >>> is_refusal(duckdb.InvalidInputException("Invalid Input Error: Failed to add data files to DuckLake: no column"))
    True
    """
    return isinstance(error, _REFUSED) and not _CATALOG_NOT_READ.match(str(error).lower())


def shown_cause(error: duckdb.Error) -> duckdb.Error | None:
    """What to chain the error of `wrapped` to: not an answer of S3's, whose text may quote the key id."""
    return None if isinstance(error, duckdb.HTTPException) else error


def wrapped(error: duckdb.Error, doing: str) -> ArrowIngestError:
    """The error to raise instead.

    What S3 answers is told apart by `s3_errors`. Whatever else is not a conflict and not the statement's own fault
    counts as the catalog's or the disk's: a new connection may find them well again.

    >>> wrapped(duckdb.ParserException("syntax error"), "SELEC 1")
    StatementRefused('SELEC 1: syntax error')
    """
    if isinstance(error, duckdb.IOException) and (outage := outage_by_httpfs(error, doing)) is not None:
        return outage
    says = f"{doing}: {str(error).partition('Stack Trace:')[0].strip()}"
    if is_conflict(error):
        return CommitConflict(says)
    if is_refusal(error):
        return StatementRefused(says)
    return CatalogUnavailable(says)
