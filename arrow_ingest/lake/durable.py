"""Local files that survive a power cut: the file, and every folder entry that leads to it, reach the disk.

DuckDB does not fsync Parquet files before its catalog commits (FACTS), so a committed snapshot could point at a file
that a crash of the machine took away.
"""

import os
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa


def create(path: Path) -> pa.NativeFile:
    """Open a new file for writing; folders that are missing are made, and made durable.

    Raises:
        OSError: no space, no permission, not a folder.
    """
    _make_folders(path.parent)
    return pa.OSFile(str(path), "wb")


def sync(path: Path) -> None:
    """Return once the closed file's content and its entry in its folder are on disk; about 4 ms."""
    _fsync(path)
    _fsync(path.parent)


def sync_below(root: Path, files: Iterable[Path]) -> None:
    """Return once closed files that another program made below ``root``, and all folders up to it, are on disk."""
    folders: dict[Path, None] = {}
    for file in files:
        _fsync(file)
        folders.update({folder: None for folder in file.parents if folder == root or root in folder.parents})
    for folder in folders:
        _fsync(folder)


def sync_all() -> None:
    """Return once everything that was written to any file is on disk: where it is not known which files there are."""
    os.sync()


def _make_folders(folder: Path) -> None:
    """Two threads may make the same folder at once: each that finds it missing syncs the entry in its parent."""
    if folder.is_dir():
        return
    _make_folders(folder.parent)
    folder.mkdir(exist_ok=True)
    _fsync(folder.parent)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
