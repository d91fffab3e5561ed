"""A folder of the data path to the files below it, with size and time; and files removed. The only place that deletes.

`ducklake_cleanup_old_files` deletes too, by itself, what the catalog says that no snapshot needs.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from arrow_ingest.errors import CatalogUnavailable


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file as its store shows it."""

    path: Path
    size_bytes: int
    modified_at: datetime


def files_below(folder: Path) -> Iterator[StoredFile]:
    """Every file below a folder; none where there is no such folder.

    Raises:
        CatalogUnavailable: a folder cannot be listed.
    """
    try:
        for entry in os.scandir(folder):
            if entry.is_dir(follow_symlinks=False):
                yield from files_below(Path(entry.path))
            elif entry.is_file(follow_symlinks=False):
                found = entry.stat(follow_symlinks=False)
                yield StoredFile(Path(entry.path), found.st_size, datetime.fromtimestamp(found.st_mtime, UTC))
    except FileNotFoundError:
        return  # it went meanwhile, or was never made
    except OSError as error:
        raise CatalogUnavailable(f"{folder} cannot be listed: {error}") from error


def size_of(path: str) -> int:
    """Bytes of a file; 0 when it is not there."""
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0


def remove(path: Path) -> None:
    """Delete a file; that it is gone already is no error.

    Raises:
        CatalogUnavailable: it cannot be deleted.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise CatalogUnavailable(f"{path} cannot be removed: {error}") from error
