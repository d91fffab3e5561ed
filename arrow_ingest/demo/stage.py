"""The demo's stage: servers, topics, lake and Dagster in one folder, set up and taken down."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from arrow_ingest import environment
from arrow_ingest.config import PipelineConfig
from arrow_ingest.demo.backing import Backing, embedded, on_stack
from arrow_ingest.demo.dagster_dev import DagsterDev, prepare_home
from arrow_ingest.demo.dagster_state import DagsterState
from arrow_ingest.demo.figures import committed
from arrow_ingest.demo.live import View
from arrow_ingest.demo.pipelines import demo_project
from arrow_ingest.demo.processes import Children, stop_left_over
from arrow_ingest.errors import CatalogUnavailable, TerminalError
from arrow_ingest.kafka.cluster import Cluster
from arrow_ingest.lake import lanes
from arrow_ingest.lake.locks import try_lock
from arrow_ingest.lake.session import open_lake
from arrow_ingest.pipeline.interventions import rebase
from arrow_ingest.pipeline.relayout import apply_lanes

PARTITIONS = 8


class DemoRunning(TerminalError):
    """Another demo works in this folder right now."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What the stage is to hold.

    Args:
        on_stack: Apache Kafka, PostgreSQL and an S3 server instead of the embedded broker and files.
        lanes: of every pipeline.
        pipelines: 1 or 2.
    """

    folder: Path
    on_stack: bool = False
    lanes: int = 1
    pipelines: int = 1


@dataclass(frozen=True, slots=True)
class Actor:
    """One pipeline on the stage; ``since`` is the last snapshot that an earlier demo of the folder left."""

    config: PipelineConfig
    since: int


@dataclass(frozen=True, slots=True)
class Stage:
    """What is running.

    Args:
        project: folder in which commands find the pipelines.
        environ: what points them at this stage.
    """

    folder: Path
    project: Path
    backing: Backing
    environ: dict[str, str]
    actors: tuple[Actor, ...]
    dagster: DagsterDev
    state: DagsterState


@contextmanager
def staged(setting: Setting, view: View) -> Iterator[Stage]:
    """Set the stage up and take down what was started, whatever happens in the block.

    Raises:
        DemoRunning: the folder is in use.
        MissingPart: a part is not installed; the text says how to get it.
        StackFailed: a server did not start.
    """
    folder = setting.folder
    folder.mkdir(parents=True, exist_ok=True)
    with try_lock(folder / "demo.lock", "demo") as is_ours, ExitStack() as parts:
        if not is_ours:
            raise DemoRunning(f"another demo runs in {folder}: stop it, or choose another folder with --dir")
        for name in stop_left_over(folder / "processes.json"):
            view.say(f"ended {name}, which an earlier demo had left running")
        children = parts.enter_context(Children(folder / "processes.json"))
        backing = parts.enter_context(on_stack(folder) if setting.on_stack else embedded(folder, children))
        environ = {**backing.environ, environment.LANES: str(setting.lanes)}
        environment.set_variables(environ)  # this process looks into the lake, too
        project = demo_project(folder, setting.pipelines)
        actors = tuple(_actor(config, view) for config in project.pipelines(environment.variables()))
        prepare_home(backing.home)
        # Opened first: two processes that make Dagster's tables at once get in each other's way.
        state = DagsterState(backing.home)
        dagster = DagsterDev(
            children,
            project=project.folder,
            home=backing.home,
            environ=environ,
            log_file=folder / "dagster.log",
        )
        yield Stage(folder, project.folder, backing, environ, actors, dagster, state)


def _actor(config: PipelineConfig, view: View) -> Actor:
    """Make the topic. The embedded broker forgets, so an older lake goes on in a new generation; its rows stay."""
    with Cluster(config.kafka) as cluster:
        cluster.create_topic(PARTITIONS, {"max.message.bytes": str(config.limits.max_message_bytes)})
    try:
        with open_lake(config.lake, read_only=True) as lake:
            found = lanes.read_lanes(lake, config.name)
    except CatalogUnavailable:
        return Actor(config, since=0)
    for state in found:
        _, after = rebase(config, state.lane, run_id="demo")
        view.say(
            f"the embedded broker forgets: lane {state.lane} of {config.name} goes on in generation "
            f"{after.generation}, and every row that was committed before stays"
        )
    if found:
        apply_lanes(config, run_id="demo", wait_seconds=0)
    return Actor(config, since=committed(config, since=0).last_snapshot)
