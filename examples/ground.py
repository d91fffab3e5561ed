"""What the examples stand on: a broker in memory, a project and a lake in a temporary folder, `arrow-ingest`."""

import contextlib
import shlex
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from arrow_ingest.cli import cli
from arrow_ingest.config import KafkaConfig
from arrow_ingest.demo.broker import EmbeddedBroker
from arrow_ingest.kafka.cluster import Cluster

PIPELINE = """\
type: arrow_ingest.KafkaToDuckLake
attributes:
  name: {name}
  kafka: {{topic: {topic}, bootstrap_servers: "{{{{ env.KAFKA_BOOTSTRAP_SERVERS }}}}"}}
  lake: {{catalog: "sqlite:lake/catalog.sqlite", data_path: lake/data, table: {name}}}
{settings}"""


class Ground:
    """A project without pipelines, beside a broker without topics; both are gone when it is closed."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.folder = Path(self._folder.name)
        self._broker = EmbeddedBroker()
        self.bootstrap_servers = self._broker.bootstrap_servers
        (self.folder / "pyproject.toml").write_text('[tool.dg.project]\nroot_module = "shop"\n')
        (self.folder / ".env").write_text(f"KAFKA_BOOTSTRAP_SERVERS={self.bootstrap_servers}\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Stop the broker and delete the folder."""
        self._broker.stop()
        self._folder.cleanup()

    def topic(self, name: str, *, partitions: int = 2) -> None:
        """Make a topic."""
        with Cluster(KafkaConfig(topic=name, bootstrap_servers=self.bootstrap_servers)) as cluster:
            cluster.create_topic(partitions)

    def pipeline(self, name: str, *, topic: str, settings: str = "") -> None:
        """Write a pipeline's YAML, or write it anew. ``settings`` are lines of further attributes."""
        file = self.folder / "src" / "shop" / "defs" / name / "defs.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        lines = "".join(f"  {line}\n" for line in settings.splitlines())
        file.write_text(PIPELINE.format(name=name, topic=topic, settings=lines))

    def run(self, command: str, *arguments: str) -> None:
        """`arrow-ingest COMMAND ARGUMENTS` as a shell would run it in the project's folder."""
        print("$ arrow-ingest", command, shlex.join(arguments))
        with contextlib.chdir(self.folder):
            code = cli([*command.split(), *arguments], standalone_mode=False)
        if code:
            print(f"exit code {code}")
