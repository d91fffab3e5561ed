"""Local files that survive a power cut: the file, and every folder entry that leads to it, reach the disk.

DuckDB does not fsync Parquet files before its catalog commits (FACTS), so a committed snapshot could point at a file
that a crash of the machine took away.
"""

import os
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
