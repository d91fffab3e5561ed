"""A project on disk and the CLI run over it, in this process, as the CLI's tests need them."""

import json
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from arrow_ingest.cli import cli

PIPELINE = """\
type: arrow_ingest.KafkaToDuckLake
attributes:
  name: {name}
  kafka: {{topic: {topic}, bootstrap_servers: "{bootstrap_servers}"}}
  lake: {{catalog: "{catalog}", data_path: "{data_path}", table: {name}}}
  columns: {{timestamp: timestamptz}}
  partition_by: {{column: timestamp, start: 2026-01-01}}
"""


@dataclass(frozen=True, slots=True)
class CliProject:
    """A Dagster project of pipelines; `run` gives it to a command as `--project`."""

    folder: Path

    def run(self, command: str, *arguments: str, exit_code: int = 0) -> Result:
        """Run a command (``drain``, ``dead-letters list``) and check its exit code; a traceback is never an answer."""
        result = CliRunner().invoke(cli, [*command.split(), "--project", str(self.folder), *arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit), "".join(
            traceback.format_exception(result.exception)
        )
        assert result.exit_code == exit_code, result.output
        return result

    def json(self, command: str, *arguments: str, exit_code: int = 0) -> Any:
        """What a command reports as JSON; stdout holds nothing else."""
        return json.loads(self.run(command, "--json", *arguments, exit_code=exit_code).stdout)


def cli_project(
    folder: Path,
    bootstrap_servers: str,
    *,
    catalog: str = "sqlite:lake/catalog.sqlite",
    data_path: str = "lake/data",
    **topics: str,
) -> CliProject:
    """A project with one pipeline per keyword: its name, and its topic."""
    for name, topic in topics.items():
        defs = folder / "src" / "shop" / "defs" / name
        defs.mkdir(parents=True, exist_ok=True)
        text = PIPELINE.format(
            name=name, topic=topic, bootstrap_servers=bootstrap_servers, catalog=catalog, data_path=data_path
        )
        (defs / "defs.yaml").write_text(text)
    (folder / "pyproject.toml").write_text('[tool.dg.project]\nroot_module = "shop"\n')
    return CliProject(folder)
