"""A catalog's address to what differs by catalog: how it is attached, and what locks its writers take."""

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from arrow_ingest.config import LakeConfig
from arrow_ingest.errors import ConfigError
from arrow_ingest.lake.postgres_catalog import postgres_catalog
from arrow_ingest.lake.sqlite_catalog import SqliteCatalog


class LaneLock(Protocol):
    """A lane's lock, or that of maintenance, while it is held."""

    def check(self) -> None:
        """Make sure that it still is.

        Raises:
            LaneLockLost: it is not.
        """
        ...


class Catalog(Protocol):
    """What a kind of catalog brings."""

    @property
    def extensions(self) -> tuple[str, ...]:
        """DuckDB extensions that it needs beside ``ducklake``."""
        ...

    @property
    def target(self) -> str:
        """What ATTACH takes."""
        ...

    @property
    def attach_options(self) -> Mapping[str, str | int]:
        """Options of ATTACH for a writer, beside the data path."""
        ...

    def exists(self) -> bool:
        """Whether there is something to attach.

        Raises:
            CatalogUnavailable: nobody can say.
        """
        ...

    def attach_lock(self) -> AbstractContextManager[None]:
        """Surrounds a writer's ATTACH: the first one writes the catalog, and two may be the first.

        Raises:
            CatalogUnavailable: the catalog cannot be made or reached, or others held the lock for too long.
        """
        ...

    def transaction_lock(self) -> AbstractContextManager[None]:
        """Surrounds every transaction that writes.

        Raises:
            CatalogUnavailable: others held it for too long.
        """
        ...

    def lane_lock(self, pipeline: str, lane: int, *, holder: str) -> AbstractContextManager[LaneLock]:
        """Held by a run for as long as it drains the lane.

        Args:
            holder: who we are, for the message that the others get.

        Raises:
            LaneBusy: another run holds it.
        """
        ...

    def publisher_lock(self, pipeline: str, *, holder: str = "") -> AbstractContextManager[bool]:
        """One publisher at a time per pipeline: False for the others, who skip."""
        ...

    def maintenance_lock(self, *, holder: str) -> AbstractContextManager[LaneLock]:
        """Held by whoever tidies the lake or rebuilds a part of it: one at a time, for all pipelines.

        Args:
            holder: who we are, for the message that the others get.

        Raises:
            MaintenanceBusy: another one holds it.
        """
        ...


def catalog_of(lake: LakeConfig) -> Catalog:
    """The catalog that ``lake.catalog`` names: ``postgres:DSN``, ``sqlite:PATH``, or a bare path to a SQLite file.

    >>> catalog_of(LakeConfig(catalog="sqlite:/lake/catalog.sqlite", data_path="/lake/data", table="events")).target
    'ducklake:sqlite:/lake/catalog.sqlite'

    Raises:
        ConfigError: the address is of another kind, or its DSN cannot be read.
    """
    kind, colon, rest = lake.catalog.partition(":")
    if not colon or os.sep in kind:
        kind, rest = "sqlite", lake.catalog
    match kind:
        case "sqlite" if rest:
            return SqliteCatalog(Path(rest).expanduser().absolute())
        case "postgres" | "postgresql" if rest:
            return postgres_catalog(f"{kind}:{rest}" if rest.startswith("//") else rest)
        case _:
            # Only the kind is shown: an address of another kind may hold a password.
            raise ConfigError(
                f"there is no catalog of kind {kind!r}: write sqlite:PATH or postgres:DSN", key="lake.catalog"
            )
