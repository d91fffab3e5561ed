"""A folder in; what a demo stands on, out: a broker, a catalog and files, and the variables that lead there."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from arrow_ingest import environment
from arrow_ingest.demo.broker import EmbeddedBroker
from arrow_ingest.demo.processes import Children
from arrow_ingest.stack.stack import running_stack


@dataclass(frozen=True, slots=True)
class Backing:
    """Servers that run.

    Args:
        home: DAGSTER_HOME that goes with the lake: as old as it, or new with it.
        environ: points the demo's pipelines at the servers; holds the key to them, where they take one.
        stays: whether the lake is still there when the demo has ended.
    """

    home: Path
    environ: Mapping[str, str]
    stays: bool


@contextmanager
def embedded(folder: Path, children: Children) -> Iterator[Backing]:
    """A broker that forgets when it ends, and a lake of files in ``folder`` that stays.

    Raises:
        MissingPart: the extra `demo` is not installed.
    """
    with EmbeddedBroker(log_file=folder / "broker.log") as broker:
        children.adopt("broker", broker.pid)
        environ = {
            environment.BOOTSTRAP_SERVERS: broker.bootstrap_servers,
            environment.CATALOG: f"sqlite:{folder / 'catalog.sqlite'}",
            environment.DATA_PATH: str(folder / "data"),
        }
        yield Backing(folder / "dagster_home", environ, stays=True)


@contextmanager
def on_stack(folder: Path) -> Iterator[Backing]:
    """Apache Kafka, PostgreSQL and an S3 server, which start empty and end with the demo.

    Raises:
        MissingPart: one of them is not installed and cannot be brought; the text says how.
        StackFailed: one of them did not start.
    """
    stack_folder = folder / "stack"
    with running_stack(stack_folder) as stack:
        home = stack_folder / "dagster_home"
        shutil.rmtree(home, ignore_errors=True)  # what it tells of belongs to a lake that is gone
        yield Backing(home, stack.environ(), stays=False)
