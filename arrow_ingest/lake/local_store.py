"""A local folder as data path: files and the folder entries that lead to them reach the disk before a commit."""

import os
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow as pa

from arrow_ingest.errors import ArrowIngestError, CatalogUnavailable
from arrow_ingest.lake import durable
from arrow_ingest.values import StoredFile


@dataclass(frozen=True, slots=True)
class LocalStore:
    """Files below an absolute folder: a `Store`."""

    folder: Path

    @property
    def root(self) -> str:
        """Other programs find the files from any working directory."""
        return f"{self.folder}/"

    @property
    def extensions(self) -> tuple[str, ...]:
        """DuckDB reads local files by itself."""
        return ()

    def make_root(self) -> None:
        """Make the folder. Locked down, DuckDB could not: it makes folders below the data path, not the path itself.

        Raises:
            CatalogUnavailable: it cannot be made.
        """
        try:
            durable.make_folders(self.folder)
        except OSError as error:
            raise CatalogUnavailable(f"the data path {self.folder} cannot be made: {error.strerror}") from error

    def admit(self, connection: duckdb.DuckDBPyConnection, *, read_only: bool) -> None:
        """Nothing is needed."""

    def create(self, path: str) -> pa.NativeFile:
        """A new file, in folders that are made durable; raises OSError."""
        return durable.create(Path(path), self.folder)

    def settle(self, path: str) -> None:
        """Fsync the file and its entry; raises OSError."""
        durable.sync(Path(path))

    def settle_foreign(self, paths: Sequence[str] | None) -> None:
        """Fsync the files and all folders up to ours, or, where they are not known, everything; raises OSError."""
        if paths is None:
            durable.sync_all()
        else:
            durable.sync_below(self.folder, map(Path, paths))

    def sizes(self, paths: Iterable[str]) -> Mapping[str, int | OSError]:
        """What `stat` says of each file."""
        return {path: _size(path) for path in paths}

    def open(self, path: str) -> pa.NativeFile:
        """The file, for reading; raises OSError."""
        return pa.OSFile(path)

    def files_below(self, folder: str) -> Iterator[StoredFile]:
        """By walking the folders; raises CatalogUnavailable."""
        try:
            for entry in os.scandir(folder):
                if entry.is_dir(follow_symlinks=False):
                    yield from self.files_below(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    found = entry.stat(follow_symlinks=False)
                    yield StoredFile(entry.path, found.st_size, datetime.fromtimestamp(found.st_mtime, UTC))
        except FileNotFoundError:
            return  # it went meanwhile, or was never made
        except OSError as error:
            raise CatalogUnavailable(f"{folder} cannot be listed: {error.strerror}") from error

    def remove(self, path: str) -> None:
        """Unlink the file; raises CatalogUnavailable."""
        try:
            Path(path).unlink(missing_ok=True)
        except OSError as error:
            raise CatalogUnavailable(f"{path} cannot be removed: {error.strerror}") from error

    def outage(self, error: OSError, doing: str) -> ArrowIngestError | None:
        """A disk is as good as its files."""

    def probe(self) -> None:
        """Create, fsync and remove a file; raises CatalogUnavailable."""
        probe_folder(self.folder)


def local_store(data_path: str) -> LocalStore:
    """The store in a folder, which may be relative to the working directory or to a home.

    >>> local_store("/lake/data/").root
    '/lake/data/'
    """
    return LocalStore(Path(data_path).expanduser().absolute())


def probe_folder(folder: Path) -> None:
    """Create, fsync and remove a file; folders that are missing are made, and removed again.

    Raises:
        CatalogUnavailable: one of these is not possible.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    probe = folder / f".arrow-ingest-probe-{uuid.uuid4()}"
    try:
        try:
            with durable.create(probe) as file:
                file.write(b"probe")
            durable.sync(probe)
        finally:
            probe.unlink(missing_ok=True)
            for path in missing:
                if path.is_dir():
                    path.rmdir()
    except OSError as error:
        raise CatalogUnavailable(f"{folder} cannot be written: {error.strerror or error}") from error


def _size(path: str) -> int | OSError:
    try:
        return Path(path).stat().st_size
    except OSError as error:
        return error
