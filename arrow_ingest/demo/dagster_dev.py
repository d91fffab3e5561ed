"""`dagster dev` over the packaged pipeline, and what its instance says of runs and partitions."""

import shutil
import socket
import sys
import urllib.error
import urllib.request
from importlib import resources
from pathlib import Path

from arrow_ingest import environment
from arrow_ingest.demo.processes import Child, Children

WEB_PORT = 3000

OUTSIDE = Path("/")
"""A folder in no project: what is started there finds the packaged pipeline, whatever project the demo is run in."""


def prepare_home(home: Path) -> None:
    """Make DAGSTER_HOME with the settings that suit short runs; what a user changed there stays."""
    home.mkdir(parents=True, exist_ok=True)
    settings = home / "dagster.yaml"
    if not settings.exists():
        with resources.as_file(resources.files("arrow_ingest.demo") / "dagster.yaml") as packaged:
            shutil.copyfile(packaged, settings)


def start_dagster(children: Children, *, home: Path, port: int, environ: dict[str, str], log_file: Path) -> Child:
    """Start webserver, daemon and code server; they load the packaged pipeline with ``environ`` on top of ours."""
    command = [
        *(sys.executable, "-m", "dagster", "dev", "-m", "arrow_ingest.definitions"),
        *("--host", "127.0.0.1", "--port", str(port)),
    ]
    env = {**environment.variables(), **environ, environment.DAGSTER_HOME: str(home)}
    return children.start("dagster", command, env=env, cwd=OUTSIDE, log_file=log_file)


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
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
