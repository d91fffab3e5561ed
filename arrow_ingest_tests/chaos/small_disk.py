"""A disk that is full soon: a file system in memory, mounted for a test."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True, slots=True)
class SmallDisk:
    """A mounted file system."""

    folder: Path

    def resize(self, mebibytes: int) -> None:
        """Let it hold more, or less."""
        _mount("-o", f"remount,size={mebibytes}m", str(self.folder))

    def fill(self) -> Path:
        """Take all that is free; the file to remove again."""
        filler = self.folder / "filler"
        with filler.open("wb") as file:
            try:
                while True:
                    file.write(bytes(65_536))
                    file.flush()
            except OSError:
                os.ftruncate(file.fileno(), file.tell())
        return filler


@contextmanager
def small_disk(folder: Path, *, mebibytes: int) -> Iterator[SmallDisk]:
    """Mount one, for the block. Only root may, as CI is: elsewhere the test skips."""
    if os.geteuid() != 0:
        said = "only root may mount a small disk: run the tests as root"
        pytest.fail(said) if os.environ.get("CI") == "true" else pytest.skip(said)
    folder.mkdir()
    _mount("-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(folder))
    try:
        yield SmallDisk(folder)
    finally:
        # Lazily: whoever has a file open there still keeps nobody from going on.
        subprocess.run(["/bin/umount", "--lazy", str(folder)], check=True, timeout=60)


def _mount(*arguments: str) -> None:
    subprocess.run(["/bin/mount", *arguments], check=True, timeout=60)
