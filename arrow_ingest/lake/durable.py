"""Local files that survive a power cut: the file, and every folder entry that leads to it, reach the disk.

DuckDB does not fsync Parquet files before its catalog commits (FACTS), so a committed snapshot could point at a file
that a crash of the machine took away.
"""

import os
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa

_lasting: set[Path] = set()
"""Folders whose entries this process has brought to disk. One that is there may be the work of a process that was
killed before it did so."""


def create(path: Path, below: Path | None = None) -> pa.NativeFile:
    """Open a new file for writing, in folders of `make_folders`.

    Raises:
        OSError: no space, no permission, not a folder.
    """
    make_folders(path.parent, below)
    return pa.OSFile(str(path), "wb")


def make_folders(folder: Path, below: Path | None = None) -> None:
    """Make what is missing of a folder and those above it; return once their entries are on disk.

    Two threads may make the same folder at once: each syncs the entry in its parent.

    Args:
        below: the entries of all folders from this one on count. None: those of the folder itself, and of what is
            missing above it.

    Raises:
        OSError: no space, no permission, not a folder.
    """
    is_there = folder.is_dir()
    below = None if folder == below else below
    if folder == folder.parent or (is_there and folder in _lasting):
        return
    if below is not None or not is_there:
        make_folders(folder.parent, below)
    if not is_there:
        folder.mkdir(exist_ok=True)
    try:
        _fsync(folder.parent)
    except PermissionError:
        if not is_there:
            raise
        # Whoever made it could write there, and is not one of us.
    _lasting.add(folder)


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


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
