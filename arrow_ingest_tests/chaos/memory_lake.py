"""A catalog and a store in memory, behind the connection that `arrow_ingest.lake.session.Lake` talks to.

The project's own SQL runs as it is, on a DuckDB in memory: fence, ledger, claims, schema changes, and what `verify`
reads. Stood in for is what DuckLake does and DuckDB does not: adding files, commit messages, snapshot ids, and
transactions of several sessions, of which the first to commit wins. A transaction that others overtook is done again at
its next statement, and is lost unless every statement says what it said before.

Faults are ordered by the number of the statement, over all sessions; a lost COMMIT can land at any later time.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from typing import Any, NoReturn

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from arrow_ingest.lake import ledger, tables
from arrow_ingest.lake.schema import Column
from arrow_ingest.lake.session import Lake
from arrow_ingest.lake.sql import LAKE, OWN_SCHEMA, create_table, insert, quoted

Rows = list[tuple[Any, ...]]


class Fault(Enum):
    """What happens at a statement, before it is executed unless it says otherwise."""

    CRASH = "the process is killed"
    CRASH_BEHIND = "the process is killed once COMMIT has landed"
    LOST = "the connection is lost; the statement did not arrive"
    ANSWER_LOST = "the statement is executed, COMMIT lands, the connection is lost"
    DELAYED = "the connection is lost; COMMIT lands at some later time, or never"
    CONFLICT = "another transaction was first"


class Crash(BaseException):
    """The end of a process, as SIGKILL ends it: nothing of it runs any more that changes anything."""


@dataclass
class _Transaction:
    """What a session has done since BEGIN, and what was answered."""

    statements: list[tuple[str, Any, Rows]] = field(default_factory=list)
    is_lost: bool = False


@cache
def _engine() -> duckdb.DuckDBPyConnection:
    """One DuckDB for all catalogs of this process, which come one after the other: to start one takes 40 ms.

    DuckDB looks for pandas at every parameter of every statement, which is more than half of a small one's time. What
    its optimizer does for a handful of rows takes longer than they do.
    """
    sys.modules.setdefault("pandas", None)  # type: ignore[arg-type]
    connection = duckdb.connect(config={"threads": 1})
    connection.execute("SET TimeZone = 'UTC'; PRAGMA disable_optimizer")
    return connection


class MemoryCatalog:
    """What all sessions see.

    Attributes:
        files: staged files by path; others are read from disk.
        delayed: transactions whose COMMIT was sent and has not arrived yet.
        faults: by the number of the statement, counted from when it was last set to 0.
    """

    def __init__(self) -> None:
        self._database = _engine()
        self._database.execute(f"ATTACH ':memory:' AS {LAKE}; CREATE SCHEMA {LAKE}.{OWN_SCHEMA}")
        for name, columns in (
            (tables.PIPELINES, tables.PIPELINE_COLUMNS),
            (ledger.COMMITS, (*ledger.COLUMNS, Column("snapshot_id", "BIGINT"))),
            (tables.META, tables.META_COLUMNS),
        ):
            self._database.execute(create_table(name, columns))
        self._database.execute(insert(tables.META, tables.META_COLUMNS), [tables.LAYOUT_VERSION])
        self._open: MemoryConnection | None = None
        self._answers: dict[str, Rows] = {}
        self.files: dict[str, pa.Table] = {}
        self.delayed: list[_Transaction] = []
        self.faults: dict[int, Fault | Callable[[], object]] = {}
        self.statement = 0
        self.snapshot = 0

    def close(self) -> None:
        """Forget everything."""
        self.enter(None)
        self._database.execute(f"DETACH {LAKE}")

    def session(self, *_: object, **__: object) -> Lake:
        """A new session; takes what `open_lake` takes."""
        return Lake(MemoryConnection(self), _NoLocks(), None)  # type: ignore[arg-type]

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        """No faults for the block, which may be amid a statement of somebody else."""
        faults, self.faults = self.faults, {}
        statement = self.statement
        try:
            yield
        finally:
            self.faults, self.statement = faults, statement

    def next_fault(self) -> Fault | None:
        """Count a statement, let happen what somebody else does before it, and tell what happens to it."""
        planned = self.faults.pop(self.statement, None)
        self.statement += 1
        if planned is None or isinstance(planned, Fault):
            return planned
        with self.undisturbed():
            planned()
        return None

    def land_delayed(self) -> None:
        """The oldest of the delayed COMMITs arrives."""
        late = MemoryConnection(self)
        late.transaction = self.delayed.pop(0)
        with self.undisturbed(), suppress(duckdb.TransactionException):
            late.land()

    # What follows is for sessions.

    def enter(self, session: "MemoryConnection | None") -> None:
        """Make the database's transaction that of a session, doing again what others have overtaken."""
        if self._open is session and session is not None:
            return
        if self._open is not None:
            self._database.execute("ROLLBACK")
            self._answers.clear()
        self._open = session
        if session is not None and session.transaction is not None:
            self._database.execute("BEGIN")
            done = session.transaction
            try:
                done.is_lost |= any(self.apply(text, given) != said for text, given, said in done.statements)
            except duckdb.Error:
                done.is_lost = True

    def leave(self, *, lands: bool) -> None:
        """End the open transaction."""
        if lands:
            self.snapshot += 1
            self._database.execute(
                f"UPDATE {ledger.COMMITS} SET snapshot_id = {self.snapshot} WHERE snapshot_id IS NULL"
            )
        else:
            self._answers.clear()
        self._database.execute("COMMIT" if lands else "ROLLBACK")
        self._open = None

    def forget(self, session: "MemoryConnection") -> None:
        """Undo what a session has done."""
        if self._open is session:
            self.leave(lands=False)

    def apply(self, text: str, parameters: Sequence[Any] | Mapping[str, Any]) -> Rows:
        """Execute a statement: DuckLake's calls here, all others by DuckDB."""
        if text.startswith("CALL ducklake_add_data_files"):
            assert not isinstance(parameters, Mapping)
            table, paths, schema = parameters
            for path in paths:
                self._add(f"{LAKE}.{quoted(schema)}.{quoted(table)}", path)
            return []
        if text.startswith(f"CALL {LAKE}.set_commit_message"):
            return []
        if text.startswith(("CREATE", "ALTER", "DROP")):
            self._answers.clear()
        if "FROM duckdb_" not in text:
            return self._database.execute(text, parameters).fetchall()
        # Which tables and columns there are is a third of all that is asked, and is what it was until one changes.
        asked = f"{text} {parameters}"
        if asked not in self._answers:
            self._answers[asked] = self._database.execute(text, parameters).fetchall()
        return self._answers[asked]

    def _add(self, table: str, path: str) -> None:
        rows = self.files[path] if path in self.files else pq.read_table(path, partitioning=None)
        self._database.register("added", rows)
        self._database.execute(f"INSERT INTO {table} BY NAME FROM added")
        self._database.unregister("added")


class MemoryConnection:
    """One session, as much of a DuckDB connection as `Lake` needs."""

    def __init__(self, catalog: MemoryCatalog) -> None:
        self._catalog = catalog
        self._is_closed = False
        self._last_snapshot = 0
        self._rows: Rows = []
        self.transaction: _Transaction | None = None

    def execute(self, text: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> "MemoryConnection":
        """Execute one statement, or fail as the fault of the hour wants it."""
        if self._is_closed:
            raise duckdb.ConnectionException("the connection is closed")
        fault = self._catalog.next_fault() if text != "ROLLBACK" else None
        if fault in (Fault.CRASH, Fault.LOST):
            self._end(fault)
        if fault is Fault.CONFLICT and self.transaction is not None:
            self._roll_back()
            raise duckdb.TransactionException("Transaction conflict: another one was first")
        if fault is Fault.DELAYED and text == "COMMIT" and self.transaction is not None:
            self._catalog.delayed.append(self.transaction)
            self._end(fault)
        self._rows = self._executed(text, parameters)
        if fault in (Fault.CRASH_BEHIND, Fault.ANSWER_LOST):
            self._end(fault)
        return self

    def fetchall(self) -> Rows:
        """What the last statement answered."""
        return self._rows

    def close(self) -> None:
        """End the session, and its transaction without effect."""
        self._roll_back()
        self._is_closed = True

    def land(self) -> None:
        """COMMIT.

        Raises:
            duckdb.TransactionException: another transaction was first.
        """
        self._catalog.enter(self)
        done, self.transaction = self.transaction, None
        self._catalog.leave(lands=done is not None and not done.is_lost)
        if done is not None and done.is_lost:
            raise duckdb.TransactionException("Transaction conflict: another one was first")
        self._last_snapshot = self._catalog.snapshot

    def _end(self, fault: Fault) -> NoReturn:
        self.close()
        if fault in (Fault.CRASH, Fault.CRASH_BEHIND):
            raise Crash
        raise duckdb.IOException("server closed the connection unexpectedly")

    def _executed(self, text: str, parameters: Sequence[Any] | Mapping[str, Any]) -> Rows:
        match text:
            case "BEGIN":
                self.transaction = _Transaction()
                self._catalog.enter(None)
                self._catalog.enter(self)
            case "COMMIT":
                self.land()
            case "ROLLBACK":
                self._roll_back()
            case _ if "ducklake_last_committed_snapshot" in text:
                return [(self._last_snapshot,)]
            case _:
                return self._applied(text, parameters)
        return []

    def _applied(self, text: str, parameters: Sequence[Any] | Mapping[str, Any]) -> Rows:
        self._catalog.enter(self if self.transaction is not None else None)
        if self.transaction is None:
            return self._catalog.apply(text, parameters)
        if self.transaction.is_lost:
            self._roll_back()
            raise duckdb.TransactionException("Transaction conflict: another one was first")
        said = self._catalog.apply(text, parameters)
        self.transaction.statements.append((text, parameters, said))
        return said

    def _roll_back(self) -> None:
        if self.transaction is not None:
            self._catalog.forget(self)
            self.transaction = None


class _NoLocks:
    """No lock surrounds a transaction: safety has to come from the fence alone."""

    @contextmanager
    def transaction_lock(self) -> Iterator[None]:
        yield
