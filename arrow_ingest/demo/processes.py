"""Child processes that are written down, so that what a killed demo left running is found again and ended.

A process is recognised by pid *and* start time: a pid alone may have been given to somebody else since. Each child
leads a session of its own, so its own children (Dagster's code server, daemon and run workers) end with it.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

STOP_SECONDS = 20.0
"""How long a child may take to end by itself before it is killed; Dagster ends its runs first."""


@dataclass(frozen=True, slots=True)
class Child:
    """One started process, as the state file holds it. ``started`` is opaque and unique per process and boot."""

    name: str
    pid: int
    started: str


class Children:
    """Starts children and stops them, the last first; ``state_file`` lists those that run."""

    def __init__(self, state_file: Path) -> None:
        self._state_file = state_file
        self._children: list[Child] = []
        self._handles: dict[int, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for child in reversed(self._children):
            _stop(child, self._handles.get(child.pid))
        self._state_file.unlink(missing_ok=True)

    def start(self, name: str, command: Sequence[str], *, env: Mapping[str, str], cwd: Path, log_file: Path) -> Child:
        """Start ``command`` in a session of its own, with its output in ``log_file``.

        A terminal's Ctrl-C therefore reaches the demo alone, which then ends its children in order.
        """
        with log_file.open("ab") as output:
            handle = subprocess.Popen(
                command,
                env=dict(env),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._handles[handle.pid] = handle
        return self.adopt(name, handle.pid)

    def adopt(self, name: str, pid: int) -> Child:
        """Write down a process that somebody else started and that this demo has to stop."""
        child = Child(name, pid, start_time(pid) or "")
        self._children.append(child)
        self._write()
        return child

    def stop(self, child: Child) -> None:
        """End a child and what is left of its session."""
        _stop(child, self._handles.get(child.pid))
        self._children.remove(child)
        self._write()

    def exit_code(self, child: Child) -> int | None:
        """The child's exit code, None while it runs."""
        return self._handles[child.pid].poll()

    def _write(self) -> None:
        written = self._state_file.with_suffix(".new")
        written.write_text(json.dumps([asdict(child) for child in self._children]))
        written.replace(self._state_file)  # a kill at any moment leaves the old list or the new one


def stop_left_over(state_file: Path) -> tuple[str, ...]:
    """End what an earlier demo of this folder left running; returns the names of what was still there."""
    if not state_file.exists():
        return ()
    left = [Child(**entry) for entry in json.loads(state_file.read_text())]
    ended = tuple(child.name for child in reversed(left) if _stop(child, None))
    state_file.unlink(missing_ok=True)
    return ended


def start_time(pid: int) -> str | None:
    """When a process started, in a form that differs between two processes of one pid; None when there is none."""
    if sys.platform == "linux":
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return None
        return stat.rpartition(")")[2].split()[19]  # field 22 of proc(5): clock ticks since boot
    found = subprocess.run(["/bin/ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return found.stdout.strip() or None


def _stop(child: Child, handle: "subprocess.Popen[bytes] | None") -> bool:
    """Interrupt the child, then kill what is left of its session; whether anything was there."""
    present = start_time(child.pid)
    if present is not None and present != child.started:
        return False  # the pid belongs to somebody else now
    found = _signal_group(child.pid, signal.SIGINT)
    deadline = time.monotonic() + STOP_SECONDS
    while found and _group_exists(child.pid) and time.monotonic() < deadline:
        if handle is not None:
            handle.poll()
        time.sleep(0.05)
    _signal_group(child.pid, signal.SIGKILL)
    if handle is not None:
        handle.wait()
    return found


def _group_exists(pid: int) -> bool:
    """Whether the process group still has members; the kernel keeps a pid from reuse while one does."""
    return _signal_group(pid, 0)


def _signal_group(pid: int, number: int) -> bool:
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True
