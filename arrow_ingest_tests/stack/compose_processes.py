"""The services of `docker/compose.yaml` that are ours, started as plain processes: same commands, same environment.

Two things differ. Names of hosts lead to loopback ports. And runs are started by Dagster's DefaultRunLauncher, as
processes of the code location, since there is no Docker: so the code location also gets what DockerRunLauncher would
hand to a run's container, which in containers it does not have.
"""

import json
import os
import signal
import subprocess
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from arrow_ingest.demo.dagster_dev import is_serving
from arrow_ingest.stack.child import ChildServer, free_port, is_listening
from arrow_ingest_tests.docker.compose import DOCKER
from arrow_ingest_tests.stack.compose_servers import Servers, program_path

START_SECONDS = 120.0
COMMAND_SECONDS = 300.0


class ComposeProcesses:
    """Code location, daemon and webserver; a context manager. Producer and command line are run by `start` and `run`.

    Args:
        folder: gets logs, DAGSTER_HOME and an empty folder like the image's.
        programs_path: the PATH on which their programs are.
    """

    def __init__(
        self,
        folder: Path,
        services: Mapping[str, Any],
        servers: Servers,
        *,
        programs_path: str | None = None,
        settings: Path = DOCKER,
    ) -> None:
        self.folder = folder
        self._services = services
        self._path = programs_path or program_path()
        self._ports = {"4000": str(free_port()), "3000": str(free_port())}
        self._addresses = {
            **servers.addresses(),
            "http://127.0.0.1:3000": f"http://127.0.0.1:{self._ports['3000']}",
        }
        self._postgres_port = str(servers.postgres.port)
        self._children: dict[str, ChildServer] = {}
        self.project = folder / "project"
        self.project.mkdir()
        self._home = folder / "dagster_home"
        self._home.mkdir()
        self._run_variables = self._make_home(settings)

    def __enter__(self) -> Self:
        try:
            self.start("code", ready=lambda: is_listening(int(self._ports["4000"])))
            self.check_health("code")
            self.start("webserver", ready=lambda: is_serving(int(self._ports["3000"])))
            self.start("daemon")
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """End them as Docker does: SIGTERM first. Runs are the code location's children, so their group ends too."""
        for child in reversed(self._children.values()):
            child.stop(signal.SIGTERM)
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)

    def start(self, service: str, *arguments: str, ready: Callable[[], bool] = lambda: True) -> ChildServer:
        """Start a service's command, with ``arguments`` at its end, and wait until it is ready."""
        child = ChildServer(
            service,
            ["/usr/bin/env", *self.command(service), *arguments],
            log_file=self.folder / f"{service}.log",
            folder=self.project,
            env=self.environ(service),
        )
        self._children[service] = child
        child.wait_until(ready, START_SECONDS)
        return child

    def run(self, service: str, *arguments: str, expect: int = 0) -> str:
        """Run a service that ends; what it printed."""
        done = subprocess.run(
            ["/usr/bin/env", *self._services[service].get("entrypoint", ()), *arguments],
            env=self.environ(service),
            cwd=self.project,
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_SECONDS,
        )
        with (self.folder / f"{service}.log").open("a") as log:
            log.write(done.stdout + done.stderr)
        assert done.returncode == expect, done.stdout + done.stderr
        return done.stdout

    def check_health(self, service: str) -> None:
        """Run the service's health check, or the image's where it has none of its own."""
        test = self._services[service].get("healthcheck", {}).get("test")
        test = test or ["CMD", "dagster", "api", "grpc-health-check", "--port", "4000"]
        command = [self._placed(part) for part in test[1:]]
        subprocess.run(
            ["/usr/bin/env", *command],
            env=self.environ(service),
            cwd=self.project,
            check=True,
            timeout=COMMAND_SECONDS,
            capture_output=True,
        )

    def command(self, service: str) -> list[str]:
        """A service's command with this machine's ports, on loopback alone."""
        return [self._placed(part) for part in self._services[service]["command"]]

    def environ(self, service: str) -> dict[str, str]:
        """A service's environment and nothing of ours, with this machine's addresses; the image sets the first."""
        image = {"PATH": self._path, "DAGSTER_HOME": str(self._home), "PYTHONUNBUFFERED": "1", "HOME": str(self.folder)}
        given = dict(self._services[service]["environment"])
        if service == "code":
            given |= {name: self._services["daemon"]["environment"][name] for name in self._run_variables}
        return {**image, **{name: self._placed_variable(name, value) for name, value in given.items()}}

    def ask(self, query: str) -> dict[str, Any]:
        """The data that GraphQL answers at the webserver."""
        return json.loads(self.ask_text(query))["data"]  # type: ignore[no-any-return]

    def ask_text(self, query: str) -> str:
        """The whole answer, as it came."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._ports['3000']}/graphql",
            data=json.dumps({"query": query}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - http only
            text: str = answer.read().decode()
        assert '"errors"' not in text, text
        return text

    def _placed_variable(self, name: str, value: str) -> str:
        by_name = {
            "DAGSTER_POSTGRES_HOST": "127.0.0.1",
            "DAGSTER_POSTGRES_PORT": self._postgres_port,
            "DAGSTER_CODE_HOST": "127.0.0.1",
            "DAGSTER_CODE_PORT": self._ports["4000"],
        }
        return by_name.get(name) or self._placed(value)

    def _placed(self, text: str) -> str:
        for written, here in self._addresses.items():
            text = text.replace(written, here)
        if text == "0.0.0.0":  # noqa: S104 - replaced, not used
            return "127.0.0.1"
        return self._ports.get(text, text).replace("/opt/dagster/", f"{self._home}/")

    def _make_home(self, settings: Path) -> tuple[str, ...]:
        """DAGSTER_HOME with the image's settings but for the run launcher; the variables that it would hand to runs."""
        dagster = yaml.safe_load((settings / "dagster.yaml").read_text())
        launcher = dagster.pop("run_launcher")
        dagster["compute_logs"]["config"]["base_dir"] = str(self._home / "logs")
        (self._home / "dagster.yaml").write_text(yaml.safe_dump(dagster))
        (self._home / "workspace.yaml").write_bytes((settings / "workspace.yaml").read_bytes())
        return tuple(launcher["config"]["env_vars"])
