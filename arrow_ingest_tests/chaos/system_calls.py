"""A command in, the system calls that it made on files out, in their order, as strace saw them."""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

_TRACED = "fsync,fdatasync,mkdir,flock,write"
_LINE = re.compile(r"(?P<thread>\d+) +(?P<call>\w+)\((?P<arguments>.*)")
_RESUMED = re.compile(r"(?P<thread>\d+) +<\.\.\. (?P<call>\w+) resumed>(?P<rest>.*)")
_DESCRIPTOR = re.compile(r"\d+<(?P<path>[^>]*)>")


@dataclass(frozen=True, slots=True)
class Call:
    """One that has ended well.

    Args:
        path: the file or folder that it was about; empty: none with a name.
        began, ended: its place in the order.
    """

    name: str
    path: str
    began: int
    ended: int
    arguments: str


def traced(command: Sequence[str], trace: Path, environment: Mapping[str, str] | None = None) -> list[Call]:
    """Run a command that ends well; its calls, in the order in which they ended.

    Without strace a test skips, and in CI it fails.
    """
    if (strace := shutil.which("strace")) is None:
        said = "strace is missing: apt install strace"
        pytest.fail(said) if os.environ.get("CI") == "true" else pytest.skip(said)
    options = ["-f", "-y", "-qq", "-s", "256", "-e", f"trace={_TRACED}", "-e", "signal=none", "-o", str(trace)]
    done = subprocess.run(
        [strace, *options, *command],
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    return calls(trace.read_text(errors="replace").splitlines())


def calls(lines: Sequence[str]) -> list[Call]:
    """What strace wrote, read; a call that another thread's interrupts stands in two lines.

    >>> [(call.name, call.path, call.began, call.ended) for call in calls([
    ...     "7 fsync(3</lake/a> <unfinished ...>", '8 mkdir("/lake/b", 0777) = 0', "7 <... fsync resumed>) = 0",
    ...     '8 mkdir("/lake/b", 0777) = -1 EEXIST (File exists)'])]
    [('mkdir', '/lake/b', 1, 1), ('fsync', '/lake/a', 0, 2)]
    """
    found: list[Call] = []
    unfinished: dict[str, tuple[int, str]] = {}
    for number, line in enumerate(lines):
        began, text = number, line
        if resumed := _RESUMED.match(line):
            began, start = unfinished.pop(resumed["thread"])
            text = start + resumed["rest"]
        match = _LINE.match(text)
        if match is None:
            continue
        if text.endswith("<unfinished ...>"):
            unfinished[match["thread"]] = (number, text.removesuffix("<unfinished ...>"))
        elif not re.search(r"= -1 E\w+ \(.*\)$", text):
            found.append(Call(match["call"], _path(match["arguments"]), began, number, match["arguments"]))
    return found


def _path(arguments: str) -> str:
    if descriptor := _DESCRIPTOR.match(arguments):
        return descriptor["path"]
    return arguments.split('"')[1].rstrip("/") if arguments.startswith('"') else ""
