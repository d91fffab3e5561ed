"""The demo's stage: broker, topic, lake and Dagster in one folder, set up and taken down."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from arrow_ingest import environment
from arrow_ingest.config import PipelineConfig
from arrow_ingest.demo.broker import EmbeddedBroker
from arrow_ingest.demo.dagster_dev import DagsterDev, prepare_home
from arrow_ingest.demo.dagster_state import DagsterState
from arrow_ingest.demo.figures import committed
from arrow_ingest.demo.live import View
from arrow_ingest.demo.processes import Children, stop_left_over
from arrow_ingest.errors import CatalogUnavailable, TerminalError
from arrow_ingest.kafka.cluster import Cluster
from arrow_ingest.lake import lanes
from arrow_ingest.lake.locks import try_lock
from arrow_ingest.lake.session import open_lake
from arrow_ingest.pipeline.interventions import rebase
from arrow_ingest.project import PACKAGED_DEFS, Project

PARTITIONS = 8


class DemoRunning(TerminalError):
    """Another demo works in this folder right now."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What is running.

    Args:
        environ: what points the packaged pipeline at this stage.
        since: the last snapshot that an earlier demo of the folder left.
    """

    folder: Path
    environ: dict[str, str]
    config: PipelineConfig
    dagster: DagsterDev
    state: DagsterState
    since: int


@contextmanager
def staged(folder: Path, view: View) -> Iterator[Stage]:
    """Set the stage up in ``folder`` and take down what was started, whatever happens in the block.

    Raises:
        DemoRunning: the folder is in use.
        MissingPart: the extra `demo` is not installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with try_lock(folder / "demo.lock", "demo") as is_ours:
        if not is_ours:
            raise DemoRunning(f"another demo runs in {folder}: stop it, or choose another folder with --dir")
        for name in stop_left_over(folder / "processes.json"):
            view.say(f"ended {name}, which an earlier demo had left running")
        with Children(folder / "processes.json") as children, EmbeddedBroker(log_file=folder / "broker.log") as broker:
            children.adopt("broker", broker.pid)
            environ = _environ(folder, broker)
            (config,) = Project(folder=folder, defs=PACKAGED_DEFS).pipelines({**environment.variables(), **environ})
            _make_topic(config, view)
            since = committed(config, since=0).last_snapshot
            home = folder / "dagster_home"
            prepare_home(home)
            # Opened first: two processes that make Dagster's tables at once get in each other's way.
            state = DagsterState(home, config)
            dagster = DagsterDev(children, home=home, environ=environ, log_file=folder / "dagster.log")
            yield Stage(folder, environ, config, dagster, state, since)


def _environ(folder: Path, broker: EmbeddedBroker) -> dict[str, str]:
    return {
        environment.BOOTSTRAP_SERVERS: broker.bootstrap_servers,
        environment.CATALOG: f"sqlite:{folder / 'catalog.sqlite'}",
        environment.DATA_PATH: str(folder / "data"),
    }


def _make_topic(config: PipelineConfig, view: View) -> None:
    """Make the topic. The embedded broker forgets, so an older lake goes on in a new generation; its rows stay."""
    with Cluster(config.kafka) as cluster:
        cluster.create_topic(PARTITIONS, {"max.message.bytes": str(config.limits.max_message_bytes)})
    try:
        with open_lake(config.lake, read_only=True) as lake:
            found = lanes.read_lanes(lake, config.name)
    except CatalogUnavailable:
        return
    for state in found:
        _, after = rebase(config, state.lane, run_id="demo")
        view.say(
            f"the embedded broker forgets: lane {state.lane} goes on in generation {after.generation}, "
            "and every row that was committed before stays"
        )
