"""Locks on files of a local file system: one holder at a time, whichever process or thread it is in.

The kernel releases `flock` when the holder's process ends, however it ends, so no lock is ever stale. They save work;
safety comes from the fence in the lane's row alone.
"""

import fcntl
import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from arrow_ingest.errors import CatalogUnavailable
from arrow_ingest.lake import durable

_POLL_SECONDS = (0.002, 0.02)
"""A waiter looks again after a random time in this range; the transactions that it waits for take 25 to 75 ms."""


@contextmanager
def try_lock(path: Path, holder: str) -> Iterator[bool]:
    """Hold the lock for the block and give True, or give False at once while somebody else holds it.

    Args:
        holder: who we are; `holder_of` shows it to others.

    Raises:
        CatalogUnavailable: the lock file cannot be made or opened.
    """
    descriptor = _opened(path)
    try:
        taken = _take(descriptor)
        if taken:
            os.truncate(descriptor, 0)
            os.pwrite(descriptor, f"pid {os.getpid()}, {holder}".encode(), 0)
        yield taken
    finally:
        os.close(descriptor)


@contextmanager
def wait_lock(path: Path, holder: str, timeout_seconds: float) -> Iterator[None]:
    """Hold the lock for the block.

    Raises:
        CatalogUnavailable: somebody else held it all the time.
    """
    deadline = time.monotonic() + timeout_seconds
    while True:
        with try_lock(path, holder) as taken:
            if taken:
                yield
                return
        if time.monotonic() >= deadline:
            raise CatalogUnavailable(f"{path} was held for {timeout_seconds:.0f} s by {holder_of(path)}")
        time.sleep(random.uniform(*_POLL_SECONDS))  # noqa: S311 - waiters must not march in step; nothing is secret


def holder_of(path: Path) -> str:
    """Who took the lock last, as it said of itself; empty if nobody did."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def _opened(path: Path) -> int:
    try:
        durable.make_folders(path.parent)  # the catalog's is above it, and may be missing as well
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise CatalogUnavailable(f"the lock file {path} cannot be opened: {error.strerror}") from error


def _take(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
