"""The Dagster run as a row of its own: the same drain, launched as the sensor does, with its publications."""

import shutil
import time
from importlib import resources
from pathlib import Path
from typing import Any

import dagster as dg

from arrow_ingest import environment
from arrow_ingest.components.names import Names
from arrow_ingest.components.pipeline_definitions import pipeline_definitions
from arrow_ingest.components.publisher import Publisher
from arrow_ingest.lake import ledger
from arrow_ingest.lake.session import open_lake
from benchmarks.contenders.duck import size_on_disk
from benchmarks.measurement import Meter, Usage
from benchmarks.settings import pipeline
from benchmarks.task import Task, Work


def run(task: Task, meter: Meter) -> Work:
    """One run over the backlog, then one over nothing; ``extra`` tells what publications and the idle run took."""
    config, work = pipeline(task), Work()
    publications = _timed_publications()
    with _instance(Path(task.folder) / "dagster") as instance:
        job = pipeline_definitions(config).resolve_job_def(Names.of(config).job)
        tags = Names.of(config).run_tags(0)
        meter.begin()
        job.execute_in_process(instance=instance, tags=tags)
        meter.mark()
        work.extra["publication_seconds"] = list(publications)
        idle = Usage.now()
        job.execute_in_process(instance=instance, tags=tags)
        ended = Usage.now()
        work.extra["idle_run_seconds"] = ended.at_seconds - idle.at_seconds
        work.extra["idle_run_cpu_seconds"] = (
            ended.user_seconds + ended.system_seconds - idle.user_seconds - idle.system_seconds
        )
    with open_lake(config.lake, read_only=True) as lake:
        commits = ledger.commits_since(lake, config.name, 0)
    work.commits = len(commits)
    work.rows = sum(commit.tally.rows for commit in commits)
    work.messages = sum(commit.tally.messages for commit in commits)
    work.bytes_received = sum(commit.bytes_received for commit in commits)
    work.files, work.bytes_on_disk = size_on_disk(Path(task.folder) / "data")
    return work


def _timed_publications() -> list[float]:
    """What each publication of this process takes, from now on."""
    seconds: list[float] = []
    publish = Publisher.publish

    def timed(self: Publisher, *args: Any, **kwargs: Any) -> None:
        began = time.monotonic()
        publish(self, *args, **kwargs)
        seconds.append(round(time.monotonic() - began, 4))

    Publisher.publish = timed  # type: ignore[method-assign]
    return seconds


def _instance(home: Path) -> dg.DagsterInstance:
    home.mkdir(parents=True)
    with resources.as_file(resources.files("arrow_ingest.demo") / "dagster.yaml") as packaged:
        shutil.copyfile(packaged, home / "dagster.yaml")
    environment.enter_dagster_home(home)
    return dg.DagsterInstance.from_config(str(home))
