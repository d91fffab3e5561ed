"""A PostgreSQL database as catalog, by its DSN: writers on any machine, side by side.

Transactions take no lock: DuckLake's commit finds conflicts by itself, and the fence in the lane's row decides. Lanes,
publishers and the first ATTACH hold advisory locks on sessions of their own (`arrow_ingest.lake.advisory_locks`).
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from arrow_ingest.errors import ConfigError, LaneBusy, MaintenanceBusy
from arrow_ingest.lake.advisory_locks import SERVER_SETTINGS, LockSession, locking

ATTACH_SECONDS = 60.0
"""How long a writer waits while another one makes the lake, which takes less than a second."""

_OUR_END: Mapping[str, str] = {
    "connect_timeout": "10",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}
"""A server that vanished is noticed within half a minute, not by the kernel's default of hours; the DSN may differ."""


@dataclass(frozen=True, slots=True)
class PostgresCatalog:
    """A lake's tables in the schema ``public`` of a database.

    Args:
        conninfo: libpq's ``key=value`` form, without a password: it stands in ATTACH, in errors and in
            ``duckdb_databases()``. DuckDB's libpq and psycopg's read PGPASSWORD, PGPASSFILE and the other variables.
    """

    conninfo: str

    @property
    def extensions(self) -> tuple[str, ...]:
        """PostgreSQL comes as an extension."""
        return ("postgres_scanner",)

    @property
    def target(self) -> str:
        """What ATTACH takes: with `SERVER_SETTINGS`, which DuckDB's connections ask for as they start."""
        settings = [f"-c {name}={setting}" for name, setting in SERVER_SETTINGS.items()]
        options = " ".join([*settings, str(conninfo_to_dict(self.conninfo).get("options", ""))]).rstrip()
        return f"ducklake:postgres:{make_conninfo(self.conninfo, options=options)}"

    @property
    def attach_options(self) -> Mapping[str, str | int]:
        """None beside the data path."""
        return {}

    def exists(self) -> bool:
        """Whether the database holds DuckLake's tables, which are made in one transaction.

        Raises:
            CatalogUnavailable: the server cannot be reached.
        """
        with locking(self.conninfo, "exists") as session:
            return session.sees("public.ducklake_metadata")

    @contextmanager
    def attach_lock(self) -> Iterator[None]:
        """Waits for whoever makes the lake; free once it is there.

        Raises:
            CatalogUnavailable: the server cannot be reached, or another writer held the lock for `ATTACH_SECONDS`.
        """
        with locking(self.conninfo, "attach") as session:
            if not session.sees("public.ducklake_metadata"):
                session.wait("attach", timeout_seconds=ATTACH_SECONDS)
            yield

    def transaction_lock(self) -> AbstractContextManager[None]:
        """None: writers do not wait for each other."""
        return nullcontext()

    @contextmanager
    def lane_lock(self, pipeline: str, lane: int, *, holder: str) -> Iterator[LockSession]:
        """The lane's advisory lock, held for the block, or until the session that holds it ends: see its ``check``.

        Raises:
            LaneBusy: another run holds it.
            CatalogUnavailable: the server cannot be reached.
            ConfigError: a connection pooler stands before it.
        """
        with locking(self.conninfo, f"run {holder}") as session:
            name = f"lane {lane} of {pipeline}"
            if not session.take(name):
                raise LaneBusy(pipeline, lane, session.holder_of(name))
            yield session

    @contextmanager
    def publisher_lock(self, pipeline: str, *, holder: str = "") -> Iterator[bool]:
        """The publisher's advisory lock: True while we hold it, False when another publisher does."""
        with locking(self.conninfo, f"publisher {holder}") as session:
            yield session.take(f"publisher of {pipeline}")

    @contextmanager
    def maintenance_lock(self, *, holder: str) -> Iterator[LockSession]:
        """The lake's advisory lock of maintenance, held for the block, or until its session ends: see ``check``.

        Raises:
            MaintenanceBusy: another one holds it.
            CatalogUnavailable: the server cannot be reached.
            ConfigError: a connection pooler stands before it.
        """
        with locking(self.conninfo, f"maintenance {holder}") as session:
            if not session.take("maintenance"):
                raise MaintenanceBusy(session.holder_of("maintenance"))
            yield session


def postgres_catalog(dsn: str) -> PostgresCatalog:
    """The catalog at a DSN in either of libpq's forms, which holds no password (`LakeConfig` sees to that).

    >>> postgres_catalog("postgresql://ann@db:5433/lake?sslmode=verify-full").conninfo.partition("user=")[2]
    'ann dbname=lake host=db port=5433 sslmode=verify-full'

    Raises:
        ConfigError: it is neither form.
    """
    try:
        given = conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        # libpq's own words quote the place where it stopped to understand: that may be a password.
        raise ConfigError(
            "the DSN is neither of libpq's forms: write postgres:host=HOST dbname=NAME user=USER, or "
            "postgresql://USER@HOST/NAME",
            key="lake.catalog",
        ) from None
    return PostgresCatalog(make_conninfo("", **{**_OUR_END, **given}))
