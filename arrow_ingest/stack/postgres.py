"""A PostgreSQL server of the machine's own programs: empty, on a free port, gone at the end. Or one that is given.

Its data lies in the system's folder of temporary files: where we are root, another user runs it, who need not be
allowed into ours.
"""

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from arrow_ingest.errors import StackFailed
from arrow_ingest.stack import programs
from arrow_ingest.stack.child import ChildServer, RunAs, free_port

START_SECONDS = 30.0
UNPRIVILEGED = "postgres"
"""Who runs the server where we are root, as which it refuses to run; Debian's packages make this user."""

# Fast, not durable: what it must survive is the end of its own process, not of the machine.
SETTINGS = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off", "max_connections": "200"}
# The superuser needs no password, everybody else does.
AUTHENTICATION = "host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"


class GivenPostgres:
    """A server that somebody else runs.

    Args:
        dsn: how a user who may make databases enters it.
    """

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._numbers = itertools.count()

    def new_database(self) -> str:
        """The DSN of a new empty database."""
        name = f"lake_{os.getpid()}_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        return make_conninfo(self._dsn, dbname=name)

    def execute(self, statement: str) -> None:
        """Run one statement as the superuser."""
        try:
            with psycopg.connect(self._dsn, autocommit=True) as connection:
                connection.execute(statement.encode())
        except psycopg.Error as error:
            raise StackFailed("PostgreSQL", str(error)) from error


class PostgresServer(GivenPostgres):
    """A running server; a context manager.

    Args:
        settings: of ``postgresql.conf``, over ours.
        log_file: gets the server's log; None: nothing does.

    Raises:
        MissingPart: the programs are not installed.
        StackFailed: it did not start.
    """

    def __init__(self, *, settings: Mapping[str, str] | None = None, log_file: Path | None = None) -> None:
        self._programs = programs.postgres()
        self._settings = {**SETTINGS, **(settings or {})}
        self._log_file = log_file or Path(os.devnull)
        self._run_as = _unprivileged() if os.geteuid() == 0 else None
        self.port = free_port()
        super().__init__(self.dsn())

    def __enter__(self) -> Self:
        self._data = Path(tempfile.mkdtemp(prefix="arrow-ingest-postgres-"))
        try:
            self._make_cluster()
            self.start()
        except BaseException:
            shutil.rmtree(self._data, ignore_errors=True)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()
        shutil.rmtree(self._data, ignore_errors=True)

    def start(self) -> None:
        """Start the server over its data, on its port, and wait until it serves.

        Raises:
            StackFailed: it ended, or took too long.
        """
        settings = [part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")]
        command = [str(self._programs / "postgres"), "-D", str(self._data), "-p", str(self.port), *settings]
        self._child = ChildServer(
            "PostgreSQL",
            command,
            log_file=self._log_file,
            folder=self._data,
            run_as=self._run_as,
            on_parents_death=signal.SIGINT,
        )
        self._child.wait_until(self._is_ready, START_SECONDS)

    def stop(self) -> None:
        """End the server; sessions are ended, not waited for ("fast")."""
        self._child.stop(signal.SIGINT)

    def kill(self) -> None:
        """End the server as a crash would ("immediate"): what was not committed is gone, sessions are cut."""
        self._child.stop(signal.SIGQUIT)

    def kill_parent(self) -> None:
        """End the parent of all its processes by force; the others end once they notice, and only then it can start."""
        self._child.kill()

    def dsn(self, database: str = "postgres", *, user: str = "postgres", port: int | None = None) -> str:
        """The DSN of a database, without a password."""
        return f"host=127.0.0.1 port={port or self.port} dbname={database} user={user}"

    def new_role(self, name: str, password: str, *, superuser: bool = False) -> None:
        """Make a role that may log in, only with its password; one of that name before goes."""
        role = sql.Identifier(name)
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(role))
            made = sql.SQL("CREATE ROLE {} LOGIN {} PASSWORD {}")
            rights = sql.SQL("SUPERUSER" if superuser else "NOSUPERUSER")
            connection.execute(made.format(role, rights, sql.Literal(password)))

    def _make_cluster(self) -> None:
        if self._run_as is not None:
            os.chown(self._data, pwd.getpwnam(self._run_as.user).pw_uid, self._run_as.group)
        command = [str(self._programs / "initdb"), "-D", str(self._data), "-U", "postgres"]
        subprocess.run(
            [*command, "-E", "UTF8", "--locale=C", "--no-sync"],
            check=True,
            capture_output=True,
            timeout=60,
            cwd=self._data,
            user=self._run_as.user if self._run_as else None,
            group=self._run_as.group if self._run_as else None,
            extra_groups=[] if self._run_as else None,
        )
        (self._data / "pg_hba.conf").write_text(AUTHENTICATION)

    def _is_ready(self) -> bool:
        with suppress(psycopg.OperationalError):
            psycopg.connect(self.dsn()).close()
            return True
        return False


def _unprivileged() -> RunAs:
    return RunAs(UNPRIVILEGED, pwd.getpwnam(UNPRIVILEGED).pw_gid)
