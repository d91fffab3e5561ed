"""The options that every command has, and what they stand for."""

import functools
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from arrow_ingest.config import PipelineConfig


@dataclass(frozen=True, slots=True)
class Common:
    """`--project` and `--json`, and the pipelines that they lead to. `--verbose` has had its effect already."""

    project: Path | None
    as_json: bool

    def pipelines(self, names: Iterable[str]) -> "tuple[PipelineConfig, ...]":
        """The pipelines of these names; all of the project when none is given.

        Raises:
            ConfigError: the project's YAML cannot be used, or there is no pipeline of a name.
        """
        from arrow_ingest.project import choose

        return choose(self._declared(), names)

    def pipeline(self, name: str | None) -> "PipelineConfig":
        """The pipeline of this name; the only one of the project when none is given.

        Raises:
            ConfigError: as :meth:`pipelines`, or there are several and none is named.
        """
        from arrow_ingest.project import choose_one

        return choose_one(self._declared(), name)

    def _declared(self) -> "tuple[PipelineConfig, ...]":
        """The project's pipelines, its ``.env`` file read first."""
        from arrow_ingest import environment
        from arrow_ingest.project import load_pipelines, locate

        environment.load_env_file(locate(self.project).folder)
        return load_pipelines(self.project)


def common(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the common options; it receives them as its first argument, a :class:`Common`."""

    @click.option(
        "--project",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        help="Folder of the project (pyproject.toml with [tool.dg]). Default: the one that the current folder lies in, "
        "else the packaged pipeline.",
    )
    @click.option("--json", "as_json", is_flag=True, help="Report as JSON on stdout.")
    @click.option("--verbose", is_flag=True, help="Log more, with tracebacks of errors.")
    @functools.wraps(command)
    def with_common(*, project: Path | None, as_json: bool, verbose: bool, **arguments: Any) -> None:
        log_to_stderr(verbose=verbose)
        command(Common(project, as_json), **arguments)

    return with_common


def waits(for_what: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command `--wait`, as ``wait_seconds``; None: as long as a run may live."""
    return click.option(
        "--wait",
        "wait_seconds",
        type=click.FloatRange(min=0),
        help=f"Seconds to wait for {for_what}. Default: as long as a run may live.",
    )


def log_to_stderr(*, verbose: bool) -> None:
    """Send our log lines to stderr, above the progress bar if there is one; other libraries' from warnings on."""
    from arrow_ingest import environment
    from arrow_ingest.cli.output import ConsoleHandler
    from arrow_ingest.log_lines import formatter

    handler = ConsoleHandler()
    handler.setFormatter(formatter("%(message)s", as_json=environment.logs_as_json()))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("arrow_ingest").setLevel(logging.DEBUG if verbose else logging.INFO)
