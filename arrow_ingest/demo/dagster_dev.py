"""`dagster dev` over the demo's pipelines: its home, its start, and its start again when one of its parts has died."""

import shutil
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from arrow_ingest import environment
from arrow_ingest.demo.processes import Child, Children

WEB_PORT = 3000


def prepare_home(home: Path) -> None:
    """Make DAGSTER_HOME with the settings that suit short runs; what a user changed there stays."""
    home.mkdir(parents=True, exist_ok=True)
    settings = home / "dagster.yaml"
    if not settings.exists():
        with resources.as_file(resources.files("arrow_ingest.demo") / "dagster.yaml") as packaged:
            shutil.copyfile(packaged, settings)


class DagsterDev:
    """Webserver, daemon and code server over the pipelines of a project, with ``environ`` on top of our environment.

    `dagster dev` ends when one of its parts dies; `revive` starts it again.
    """

    def __init__(
        self, children: Children, *, project: Path, home: Path, environ: Mapping[str, str], log_file: Path
    ) -> None:
        self._children = children
        self._project = project
        self.port = free_port(WEB_PORT)
        self._env = {**environment.variables(), **environ, environment.DAGSTER_HOME: str(home)}
        self.log_file = log_file
        self.deaths = 0
        self._child = self._start()

    @property
    def address(self) -> str:
        """Where the UI is."""
        return f"http://127.0.0.1:{self.port}"

    def revive(self) -> int | None:
        """Start it again if it has ended; its exit code then, None while it runs.

        On another port if somebody else, a second demo that began at the same moment, was quicker to listen on ours.
        """
        exit_code = self._children.exit_code(self._child)
        if exit_code is not None:
            self.deaths += 1
            self._children.stop(self._child)
            self.port = free_port(self.port)
            self._child = self._start()
        return exit_code

    def _start(self) -> Child:
        command = [
            *(sys.executable, "-m", "dagster", "dev", "-m", "arrow_ingest.definitions"),
            *("--host", "127.0.0.1", "--port", str(self.port)),
        ]
        env = {**self._env, environment.UI_URL: self.address}
        return self._children.start("dagster", command, env=env, cwd=self._project, log_file=self.log_file)


def is_serving(port: int) -> bool:
    """Whether the webserver answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/server_info", timeout=2):
            return True
    except (urllib.error.URLError, OSError):
        return False


def free_port(wanted: int) -> int:
    """``wanted``, or another free port when somebody listens there."""
    with socket.socket() as probe:
        # As the webserver does: connections that a browser had to an earlier one may linger, and nobody listens.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
