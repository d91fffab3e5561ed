"""A lake's address in, an attached DuckDB connection out: SQL text and parameters to rows.

Every session is in-process, runs in UTC, inlines nothing that is not told to, reads files below the data path only and
has its settings locked. One thread uses it at a time.
"""

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from typing import Any, Self, TypeVar

import duckdb
import pyarrow as pa

from arrow_ingest.config import LakeConfig
from arrow_ingest.errors import CommitConflict, LakeMismatch, LakeNotMade, StatementRefused
from arrow_ingest.lake.catalog import Catalog, catalog_of
from arrow_ingest.lake.engine import CATALOG_THREADS, QUERY_THREADS, connected
from arrow_ingest.lake.engine_errors import shown_cause, wrapped
from arrow_ingest.lake.retry import pause_seconds
from arrow_ingest.lake.sql import LAKE, OWN_SCHEMA, attach, literal
from arrow_ingest.lake.store import Store, store_of

WRITE_ATTEMPTS = 10
"""How often a small transaction is tried: lanes that start at the same time make the same tables."""

Written = TypeVar("Written")

_ROWS = "arrow_ingest_rows"
"""The name that Arrow rows have within a session while they are inserted."""


class Lake:
    """An attached lake. Closing it ends what transaction is open, without effect."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, catalog: Catalog, store: Store) -> None:
        self._connection = connection
        self.catalog = catalog
        self.store = store

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def admit(self, *, read_only: bool) -> None:
        """Let the session at the store; once, before it is locked down."""
        try:
            self.store.admit(self._connection, read_only=read_only)
        except duckdb.Error as error:
            raise wrapped(error, "the data path") from error

    def close(self) -> None:
        """End the session; an error while doing so has no one to help."""
        with suppress(duckdb.Error):
            self._connection.close()

    def execute(self, text: str, parameters: Sequence[object] | Mapping[str, object] = ()) -> list[tuple[Any, ...]]:
        """Run one statement and return all of its rows. Parameters are ``?`` by place or ``$name`` by name.

        Raises:
            CommitConflict: another transaction was first.
            CatalogUnavailable: catalog or data cannot be read or written; of a COMMIT the outcome is unknown.
            StatementRefused: the statement's own fault.
        """
        try:
            return self._connection.execute(text, parameters).fetchall()
        except duckdb.Error as error:
            raise wrapped(error, _shown(text)) from shown_cause(error)

    def arrow(self, text: str, parameters: Sequence[object] = ()) -> pa.Table:
        """Run one query and return its rows as an Arrow table, which owns its memory. Raises as `execute` does."""
        try:
            return self._connection.execute(text, parameters).to_arrow_table()
        except duckdb.Error as error:
            raise wrapped(error, _shown(text)) from shown_cause(error)

    def reader(
        self, text: str, parameters: Sequence[object] | Mapping[str, object], batch_rows: int
    ) -> pa.RecordBatchReader:
        """Run one query and return its rows as they come; nothing else is run until all are read. Raises as `execute`.

        What reading itself raises is DuckDB's or Arrow's own.
        """
        try:
            return self._connection.execute(text, parameters).to_arrow_reader(batch_rows)
        except duckdb.Error as error:
            raise wrapped(error, _shown(text)) from shown_cause(error)

    def names_in(self, schema: str) -> tuple[str, ...]:
        """The tables and views of a schema, in the open transaction if there is one. Raises as `execute` does.

        `duckdb_tables` would tell them too, and counts the rows of each meanwhile (18 ms over eight tables, against 4).
        """
        rows = self.execute(
            "SELECT DISTINCT table_name FROM duckdb_columns() WHERE database_name = ? AND schema_name = ? ORDER BY 1",
            [LAKE, schema],
        )
        return tuple(name for (name,) in rows)

    def insert(self, table: str, rows: pa.Table) -> None:
        """INSERT rows by the names of their columns; DuckDB scans them where they are. Raises as `execute` does."""
        try:
            self._connection.register(_ROWS, rows)
            try:
                self._connection.execute(f"INSERT INTO {table} BY NAME FROM {_ROWS}")
            finally:
                with suppress(duckdb.Error):  # the first error counts, and after it the transaction takes nothing
                    self._connection.unregister(_ROWS)
        except duckdb.Error as error:
            raise wrapped(error, f"INSERT INTO {table}") from shown_cause(error)

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """All statements of the block see one snapshot; they only read, so no lock is taken.

        Raises:
            CatalogUnavailable: the catalog cannot be read.
        """
        self.execute("BEGIN")
        try:
            yield
        finally:
            with suppress(duckdb.Error):
                self._connection.execute("ROLLBACK")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """BEGIN, the block, COMMIT under the catalog's transaction lock; ROLLBACK if the block raises.

        Raises:
            CommitConflict, CatalogUnavailable: also by COMMIT, whose outcome is unknown then.
        """
        with self.catalog.transaction_lock():
            self.execute("BEGIN")
            try:
                yield
            except BaseException:
                with suppress(duckdb.Error):  # the first error counts; it may have ended the transaction already
                    self._connection.execute("ROLLBACK")
                raise
            self.execute("COMMIT")

    def write(self, statements: Callable[[], Written]) -> Written:
        """A transaction around ``statements``, which are called again when another one was first.

        For what may be tried again because it first looks at what the catalog holds by then. An answer that was lost
        is not: the session is lost with it.

        Raises:
            CommitConflict: others were first in every one of `WRITE_ATTEMPTS`.
            CatalogUnavailable: also by COMMIT, whose outcome is unknown then.
        """
        for attempt in range(1, WRITE_ATTEMPTS):
            try:
                with self.transaction():
                    return statements()
            except CommitConflict:
                time.sleep(pause_seconds(attempt, random.random()))  # noqa: S311 - spreads attempts; nothing is secret
        with self.transaction():
            return statements()


def open_lake(
    lake: LakeConfig, *, read_only: bool = False, threads: int | None = None, merged_file_bytes: int | None = None
) -> Lake:
    """Attach the lake, which is made on the first write.

    Args:
        threads: DuckDB's own, the caller's among them; None: enough for queries if it is ``read_only``, else for
            changing the catalog.
        merged_file_bytes: the size that this session's merges aim at; None: DuckLake's own.

    Raises:
        CatalogUnavailable: it cannot be reached; read-only, `LakeNotMade`: it is not there yet.
        LakeMismatch: its files lie below another data path.
        ConfigError: there are no keys for the data path.
        MissingPart: a DuckDB extension is neither installed nor can be.
    """
    catalog = catalog_of(lake)
    if read_only and not catalog.exists():
        raise LakeNotMade(lake.catalog)
    store = store_of(lake)
    if not read_only:
        store.make_root()
    data_path = store.root
    extensions = (*catalog.extensions, *store.extensions, "ducklake")
    threads = threads or (QUERY_THREADS if read_only else CATALOG_THREADS)
    session = Lake(connected(extensions, threads=threads), catalog, store)
    try:
        session.admit(read_only=read_only)
        with nullcontext() if read_only else catalog.attach_lock():
            _attach(session, lake, data_path, read_only=read_only)
        _check_data_path(session, data_path)
        if read_only:
            _check_own_tables(session, lake)
        if merged_file_bytes is not None:
            session.execute(f"SET ducklake_target_file_size = '{int(merged_file_bytes)}B'")
        _lock_down(session, data_path)
    except BaseException:
        session.close()
        raise
    return session


def _attach(session: Lake, lake: LakeConfig, data_path: str, *, read_only: bool) -> None:
    try:
        session.execute(_attach_text(session.catalog, data_path, read_only=read_only))
    except StatementRefused as refusal:
        if not read_only:
            raise
        # The catalog's file is there, DuckLake's tables are not: a reader came before the first ATTACH ended.
        raise LakeNotMade(lake.catalog) from refusal


def _check_own_tables(session: Lake, lake: LakeConfig) -> None:
    """A reader may come between the first ATTACH and the end of `tables.ensure`, which makes ``meta`` last."""
    if "meta" not in session.names_in(OWN_SCHEMA):
        raise LakeNotMade(lake.catalog)


def _attach_text(catalog: Catalog, data_path: str, *, read_only: bool) -> str:
    """ATTACH with nothing inlined by default: only arrow_ingest's own small tables are, by an option of their schema.

    The catalog's data path is overridden to be compared by us: DuckLake's own refusal has no class to know it by.
    """
    options: dict[str, str | int] = {"DATA_PATH": data_path, "OVERRIDE_DATA_PATH": True, "DATA_INLINING_ROW_LIMIT": 0}
    return attach(
        catalog.target, {**options, "READ_ONLY": True} if read_only else {**options, **catalog.attach_options}
    )


def _check_data_path(session: Lake, data_path: str) -> None:
    stored = session.execute("SELECT value FROM ducklake_options(?) WHERE option_name = 'data_path'", [LAKE])
    if stored and stored[0][0] != data_path:
        raise LakeMismatch(
            f"the lake's files lie below {stored[0][0]}, but lake.data_path is {data_path}: put the old path back, or "
            "give the new one a catalog of its own"
        )


def _lock_down(session: Lake, data_path: str) -> None:
    """No file outside the data path can be read or written by any statement from here on."""
    session.execute(f"SET allowed_directories = [{literal(data_path)}]")
    session.execute("SET enable_external_access = false")
    session.execute("SET lock_configuration = true")


def _shown(text: str) -> str:
    """The statement's beginning, for messages: one line, no values (they are parameters)."""
    line = " ".join(text.split())
    return line if len(line) <= 80 else f"{line[:77]}..."
