"""A PostgreSQL server of the machine's own programs, for the tests: empty, on a free port, gone at the end."""

import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import psycopg

START_SECONDS = 30.0
UNPRIVILEGED = "postgres"
"""Who runs the server where we are root, as which it refuses to run; Debian's packages make this user."""

# Fast, not durable. The superuser needs no password, everybody else does.
SETTINGS = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off", "max_connections": "60"}
AUTHENTICATION = "host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"


def programs() -> Path | None:
    """The folder of ``initdb`` and ``postgres``; Debian keeps one per version, outside of PATH."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name))
    found = shutil.which("initdb")
    return folders[-1] if folders else Path(found).resolve().parent if found else None


class PostgresServer:
    """A running server; a context manager."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count()
        self._who: dict[str, Any] = {}
        if os.geteuid() == 0:
            self._who = {"user": UNPRIVILEGED, "group": pwd.getpwnam(UNPRIVILEGED).pw_gid, "extra_groups": []}

    def __enter__(self) -> Self:
        self._data = Path(tempfile.mkdtemp(prefix="arrow-ingest-postgres-"))
        if self._who:
            os.chown(self._data, pwd.getpwnam(UNPRIVILEGED).pw_uid, self._who["group"])
        initdb = [self._folder / "initdb", "-D", self._data, "-U", "postgres", "-E", "UTF8", "--locale=C", "--no-sync"]
        subprocess.run(initdb, check=True, capture_output=True, timeout=60, cwd=self._data, **self._who)
        (self._data / "pg_hba.conf").write_text(AUTHENTICATION)
        self.port = free_port()
        settings = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
        self._process = subprocess.Popen(
            [self._folder / "postgres", "-D", self._data, "-p", str(self.port), *settings],
            stderr=subprocess.DEVNULL,
            cwd=self._data,
            **self._who,
        )
        self._wait_until_ready()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGINT)  # "fast": sessions are ended, not waited for
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._data, ignore_errors=True)

    def new_database(self) -> str:
        """The DSN of a new empty database."""
        name = f"lake_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        return self.dsn(name)

    def dsn(self, database: str = "postgres", *, user: str = "postgres", port: int | None = None) -> str:
        """The DSN of a database, without a password."""
        return f"host=127.0.0.1 port={port or self.port} dbname={database} user={user}"

    def execute(self, statement: str) -> None:
        """Run one statement as the superuser."""
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            connection.execute(statement)  # type: ignore[call-overload]

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            with suppress(psycopg.OperationalError):
                psycopg.connect(self.dsn()).close()
                return
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("PostgreSQL did not start")
            time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
