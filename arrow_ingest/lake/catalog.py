"""A catalog's address to what differs by catalog: how it is attached, and what locks its writers take.

SQLite, the embedded default, takes one writer at a time: of two, the second fails, and lanes starve each other
(FACTS), so a file lock surrounds every transaction. Local file systems only.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from arrow_ingest.config import LakeConfig
from arrow_ingest.errors import CatalogUnavailable, ConfigError, LaneBusy
from arrow_ingest.lake.locks import holder_of, try_lock, wait_lock

TRANSACTION_SECONDS = 60.0
"""How long a writer waits for its turn; a transaction of ours takes 25 to 75 ms, maintenance longer."""


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
        """Whether there is something to attach."""
        ...

    def prepare(self) -> None:
        """Make what ATTACH does not make by itself.

        Raises:
            CatalogUnavailable: it cannot be made.
        """
        ...

    def transaction_lock(self) -> AbstractContextManager[None]:
        """Surrounds every transaction that writes.

        Raises:
            CatalogUnavailable: others held it for `TRANSACTION_SECONDS`.
        """
        ...

    def lane_lock(self, pipeline: str, lane: int, *, holder: str) -> AbstractContextManager[None]:
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


@dataclass(frozen=True, slots=True)
class SqliteCatalog:
    """A SQLite file in WAL mode, where readers never block and are never blocked.

    Its journal mode is set by DuckDB's own SQLite at ATTACH: a second copy of SQLite in this process (Python's) would
    drop the first one's file locks as soon as it closes the file, since POSIX locks belong to the process.

    Args:
        path: absolute path of the file; the folder ``<file>.locks`` beside it holds the lock files.
    """

    path: Path

    @property
    def extensions(self) -> tuple[str, ...]:
        """SQLite comes as an extension."""
        return ("sqlite_scanner",)

    @property
    def target(self) -> str:
        """What ATTACH takes."""
        return f"ducklake:sqlite:{self.path}"

    @property
    def attach_options(self) -> Mapping[str, str | int]:
        """WAL mode; a file that has it keeps it."""
        return {"META_JOURNAL_MODE": "WAL"}

    def exists(self) -> bool:
        """Whether the file is there."""
        return self.path.exists()

    def prepare(self) -> None:
        """Make the file's folder.

        Raises:
            CatalogUnavailable: the folder cannot be made.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CatalogUnavailable(f"the catalog's folder {self.path.parent} cannot be made: {error}") from error

    def transaction_lock(self) -> AbstractContextManager[None]:
        """The file lock that surrounds every transaction.

        Raises:
            CatalogUnavailable: others held it for `TRANSACTION_SECONDS`.
        """
        return wait_lock(self._lock_file("transaction"), "a transaction", TRANSACTION_SECONDS)

    @contextmanager
    def lane_lock(self, pipeline: str, lane: int, *, holder: str) -> Iterator[None]:
        """The lane's lock file, held for the block.

        Raises:
            LaneBusy: another run holds it.
        """
        path = self._lock_file(f"lane-{pipeline}-{lane}")
        with try_lock(path, f"run {holder}") as taken:
            if not taken:
                raise LaneBusy(pipeline, lane, holder_of(path))
            yield

    def publisher_lock(self, pipeline: str, *, holder: str = "") -> AbstractContextManager[bool]:
        """The publisher's lock file: True while we hold it, False when another publisher does."""
        return try_lock(self._lock_file(f"publisher-{pipeline}"), f"run {holder}")

    def _lock_file(self, name: str) -> Path:
        return self.path.with_name(f"{self.path.name}.locks") / f"{name}.lock"


def catalog_of(lake: LakeConfig) -> Catalog:
    """The catalog that ``lake.catalog`` names: ``sqlite:PATH``, or a bare path, which means the same.

    >>> catalog_of(LakeConfig(catalog="sqlite:/lake/catalog.sqlite", data_path="/lake/data", table="events")).target
    'ducklake:sqlite:/lake/catalog.sqlite'

    Raises:
        ConfigError: the address is of another kind.
    """
    kind, colon, rest = lake.catalog.partition(":")
    if not colon or os.sep in kind:
        kind, rest = "sqlite", lake.catalog
    if kind != "sqlite" or not rest:
        # Only the kind is shown: an address of another kind may hold a password.
        raise ConfigError(f"there is no catalog of kind {kind!r}: write sqlite:PATH", key="lake.catalog")
    return SqliteCatalog(Path(rest).expanduser().absolute())
