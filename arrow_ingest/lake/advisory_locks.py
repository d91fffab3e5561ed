"""PostgreSQL's advisory locks, on a session of their own: one holder at a time, on whichever machine it is.

The server releases them when the session ends, however it ends, so no lock is ever stale; but a session can end without
its process, so whoever relies on a lock looks at it again (`LockSession.check`). They save work; safety comes from the
fence in the lane's row alone. DuckDB's own connections cannot hold them: it keeps a pool (FACTS).
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import LiteralString

import psycopg

from arrow_ingest.errors import CatalogUnavailable, ConfigError, LaneLockLost

SERVER_SETTINGS: Mapping[str, str] = {
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "30000",
    "idle_session_timeout": "0",
}
"""What a session of ours asks of the server. A client that vanished would keep its lane's lock, and one that vanished
in COMMIT would hold up every other writer, for the kernel's default of hours. A lane that waits for records is idle."""

_KEY = "((classid::bigint << 32) | objid::bigint)"
"""A lock's 64-bit key as ``pg_locks`` shows it: in two halves."""


class LockSession:
    """One connection and the locks that it holds; safe to be used by several threads."""

    def __init__(self, connection: "psycopg.Connection[tuple[object, ...]]") -> None:
        self._connection = connection
        self._held: list[int] = []

    def take(self, name: str) -> bool:
        """Hold the lock until the session ends; False at once while another session holds it.

        Raises:
            ConfigError, CatalogUnavailable: nobody can hold a lock here.
        """
        self._make_ready()
        taken = bool(self._value("SELECT pg_try_advisory_lock(%s)", key_of(name)))
        if taken:
            self._held.append(key_of(name))
        return taken

    def wait(self, name: str, *, timeout_seconds: float) -> None:
        """Hold the lock until the session ends, as soon as it is free.

        Raises:
            ConfigError, CatalogUnavailable: nobody can hold a lock here, or another session did all the time.
        """
        self._make_ready()
        self._value("SELECT set_config('lock_timeout', %s, false)", f"{timeout_seconds:.0f}s")
        self._value("SELECT pg_advisory_lock(%s)", key_of(name))
        self._held.append(key_of(name))

    def check(self) -> None:
        """Make sure that the server still counts this session as the holder of all that it took.

        Raises:
            LaneLockLost: it does not; others may have taken them since.
        """
        try:
            held = self._value(
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid = pg_backend_pid() "
                f"AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND {_KEY} = ANY(%s)",
                self._held,
            )
        except CatalogUnavailable as error:
            raise LaneLockLost(str(error)) from error
        if held != len(self._held):
            raise LaneLockLost("the server no longer knows of it")

    def holder_of(self, name: str) -> str:
        """Who holds the lock, as it said of itself; empty if nobody does."""
        return str(
            self._value(
                "SELECT coalesce(min(format('backend %%s, %%s', pid, application_name)), '') "
                "FROM pg_locks JOIN pg_stat_activity USING (pid) "
                f"WHERE locktype = 'advisory' AND granted AND {_KEY} = %s AND datname = current_database()",
                key_of(name),
            )
        )

    def sees(self, table: str) -> bool:
        """Whether the database has such a table."""
        return bool(self._value("SELECT to_regclass(%s) IS NOT NULL", table))

    def _make_ready(self) -> None:
        """Refuse what cannot hold a session's lock, or cannot be written to, and apply `SERVER_SETTINGS`.

        A pooler answers the start of a connection itself, with a process id of its own making, while its server answers
        queries (PgBouncer does, measured). Behind one, a lock belongs to a server session that the next transaction may
        not get.

        Raises:
            ConfigError: a pooler stands before the server.
            CatalogUnavailable: the server is a standby, as it may be for a while after a failover.
        """
        if self._value("SELECT pg_backend_pid()") != self._connection.info.backend_pid:
            raise ConfigError(
                "a connection pooler answers at this address, and lane locks need sessions of the server's own: give "
                "the address of PostgreSQL itself",
                key="lake.catalog",
            )
        if self._value("SELECT pg_is_in_recovery()"):
            raise CatalogUnavailable("the catalog's PostgreSQL is a standby, which cannot be written to")
        self._value(
            "SELECT count(set_config(name, setting, false)) FROM unnest(%s::text[], %s::text[]) AS t (name, setting)",
            list(SERVER_SETTINGS),
            list(SERVER_SETTINGS.values()),
        )

    def _value(self, query: LiteralString, *parameters: object) -> object:
        try:
            row = self._connection.execute(query, parameters).fetchone()
        except psycopg.Error as error:
            raise unreachable(error) from error
        return None if row is None else row[0]


@contextmanager
def locking(conninfo: str, holder: str) -> Iterator[LockSession]:
    """A session for the block; the locks that it takes end with it.

    Args:
        holder: who we are, as `LockSession.holder_of` shows it to others.

    Raises:
        CatalogUnavailable: the server cannot be reached.
    """
    try:
        # A name of at most 63 bytes: the server cuts what is longer.
        connection = psycopg.connect(conninfo, autocommit=True, application_name=f"arrow_ingest {holder}")
    except psycopg.Error as error:
        raise unreachable(error) from error
    try:
        yield LockSession(connection)
    finally:
        with suppress(psycopg.Error):  # at once: a busy server takes a moment to see that a connection was closed
            connection.execute("SELECT pg_advisory_unlock_all()")
        connection.close()


def key_of(name: str) -> int:
    """The 64-bit key of a lock's name; advisory locks have numbers, one space of them per database.

    >>> -(2**63) <= key_of("lane 0 of events") < 2**63
    True
    """
    return int.from_bytes(hashlib.sha256(f"arrow_ingest {name}".encode()).digest()[:8], "big", signed=True)


def unreachable(error: psycopg.Error) -> CatalogUnavailable:
    """What to raise for a failed connection or query, with what to do where a password is missing."""
    wants_password = error.pgconn is not None and error.pgconn.needs_password
    advice = " (set PGPASSWORD, or PGPASSFILE to a file of passwords, in the environment)" if wants_password else ""
    return CatalogUnavailable(f"the catalog's PostgreSQL: {' '.join(str(error).split())}{advice}")
