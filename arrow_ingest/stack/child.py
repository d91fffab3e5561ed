"""A command in, a child process out that serves on a loopback port, and that ends with its parent."""

import ctypes
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from arrow_ingest.errors import StackFailed

STOP_SECONDS = 30.0
"""How long a server may take to end by itself before it is killed."""

POLL_SECONDS = 0.03
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class RunAs:
    """Whose rights a child gets; only root can give others than its own."""

    user: str
    group: int


class ChildServer:
    """A running child, from construction until `stop` or `kill`.

    Args:
        name: what it is called in errors.
        log_file: gets what it prints.
        env: its whole environment; None: ours.
        on_parents_death: what the kernel sends it when we are gone.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log_file: Path,
        folder: Path,
        env: Mapping[str, str] | None = None,
        run_as: RunAs | None = None,
        on_parents_death: signal.Signals = signal.SIGKILL,
    ) -> None:
        self.name = name
        self._log_file = log_file
        with log_file.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                env=None if env is None else dict(env),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                user=run_as.user if run_as else None,
                group=run_as.group if run_as else None,
                extra_groups=[] if run_as else None,
                preexec_fn=dies_with_parent(on_parents_death),  # noqa: PLW1509 - see there
                start_new_session=True,  # a terminal's Ctrl-C reaches the parent alone, which then stops its children
            )

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    def is_running(self) -> bool:
        """Whether the process is alive."""
        return self._process.poll() is None

    def wait_until(self, is_ready: Callable[[], bool], timeout_seconds: float) -> None:
        """Wait until it is ready to serve.

        Raises:
            StackFailed: the child ended, or was not ready in time. It is ended then.
        """
        deadline = time.monotonic() + timeout_seconds
        while not is_ready():
            ended = self._process.poll()
            if ended is not None or time.monotonic() > deadline:
                self.kill()
                why = (
                    f"not ready after {timeout_seconds:.0f} s" if ended is None else f"it ended with exit code {ended}"
                )
                raise StackFailed(self.name, f"{why}; see {self._log_file}\n{last_lines(self._log_file)}")
            time.sleep(POLL_SECONDS)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Ask the child to end, and end it by force if it takes too long; does nothing when it has ended."""
        self._process.send_signal(number)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End the child by force; does nothing when it has ended."""
        self._process.kill()
        self._process.wait()


def free_port() -> int:
    """A loopback port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def is_listening(port: int) -> bool:
    """Whether somebody accepts connections on a loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def dies_with_parent(number: signal.Signals = signal.SIGKILL) -> Callable[[], object] | None:
    """What a child does before exec so that the kernel ends it when a killed parent could not; Linux only.

    The signal comes when the *thread* that forked ends, so a server that is started elsewhere than in the main thread
    does without. libc is loaded before the fork, and the child calls nothing but prctl, so that a lock that some other
    thread held at the fork cannot block it. A change of user comes before it, and so does not undo it.
    """
    if sys.platform != "linux" or threading.current_thread() is not threading.main_thread():
        return None
    prctl = ctypes.PyDLL(None).prctl
    arguments = (_PR_SET_PDEATHSIG, number.value, 0, 0, 0)
    return lambda: prctl(*arguments)


def last_lines(file: Path, count: int = 15) -> str:
    """The end of a log file, for an error."""
    try:
        return "\n".join(file.read_text(encoding="utf-8", errors="replace").splitlines()[-count:])
    except OSError:
        return ""
