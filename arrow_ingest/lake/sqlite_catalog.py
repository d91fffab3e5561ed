"""A SQLite file as catalog: the embedded default, on local file systems only.

SQLite takes one writer at a time: of two, the second fails, and lanes starve each other (FACTS), so a file lock
surrounds every transaction.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from arrow_ingest.errors import CatalogUnavailable, LaneBusy, MaintenanceBusy
from arrow_ingest.lake import durable
from arrow_ingest.lake.locks import holder_of, try_lock, wait_lock

TRANSACTION_SECONDS = 60.0
"""How long a writer waits for its turn; a transaction of ours takes 25 to 75 ms, maintenance longer."""


class HeldFile:
    """A lane's or maintenance's lock file, locked. The kernel keeps it so until the block, or the process, ends."""

    def check(self) -> None:
        """Nothing can take the lock from us, so there is nothing to look at."""


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

    def attach_lock(self) -> AbstractContextManager[None]:
        """The transaction lock, over a folder that is there.

        Raises:
            CatalogUnavailable: the folder cannot be made, or others held the lock for `TRANSACTION_SECONDS`.
        """
        try:
            durable.make_folders(self.path.parent)
        except OSError as error:
            raise CatalogUnavailable(f"the catalog's folder {self.path.parent} cannot be made: {error}") from error
        return self.transaction_lock()

    def transaction_lock(self) -> AbstractContextManager[None]:
        """The file lock that surrounds every transaction.

        Raises:
            CatalogUnavailable: others held it for `TRANSACTION_SECONDS`.
        """
        return wait_lock(self._lock_file("transaction"), "a transaction", TRANSACTION_SECONDS)

    @contextmanager
    def lane_lock(self, pipeline: str, lane: int, *, holder: str) -> Iterator[HeldFile]:
        """The lane's lock file, held for the block.

        Raises:
            LaneBusy: another run holds it.
        """
        path = self._lock_file(f"lane-{pipeline}-{lane}")
        with try_lock(path, f"run {holder}") as taken:
            if not taken:
                raise LaneBusy(pipeline, lane, holder_of(path))
            yield HeldFile()

    def publisher_lock(self, pipeline: str, *, holder: str = "") -> AbstractContextManager[bool]:
        """The publisher's lock file: True while we hold it, False when another publisher does."""
        return try_lock(self._lock_file(f"publisher-{pipeline}"), f"run {holder}")

    @contextmanager
    def maintenance_lock(self, *, holder: str) -> Iterator[HeldFile]:
        """The lake's lock file of maintenance, held for the block.

        Raises:
            MaintenanceBusy: another one holds it.
        """
        path = self._lock_file("maintenance")
        with try_lock(path, f"run {holder}") as taken:
            if not taken:
                raise MaintenanceBusy(holder_of(path))
            yield HeldFile()

    def _lock_file(self, name: str) -> Path:
        return self.path.with_name(f"{self.path.name}.locks") / f"{name}.lock"
