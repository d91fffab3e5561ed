"""How many pipelines in; the project that Dagster loads, and what their producers send, out."""

import shutil
from collections.abc import Callable, Mapping
from datetime import datetime
from importlib import resources
from pathlib import Path

from arrow_ingest.producer.events import EventGenerator
from arrow_ingest.producer.orders import OrderGenerator
from arrow_ingest.producer.produce import BatchSource
from arrow_ingest.project import PACKAGED_DEFS, Project

OUTSIDE = Path("/")
"""A folder in no project: what is started there finds the packaged pipeline, whatever project the demo is run in."""

PACKAGE = "demo_pipelines"
PYPROJECT = f"""\
# Written by `arrow-ingest demo`: the packaged pipeline and a second one, as a project of one's own declares them.
[tool.dg]
directory_type = "project"

[tool.dg.project]
root_module = "{PACKAGE}"
"""

SOURCES: Mapping[str, Callable[[int, datetime, int], BatchSource]] = {
    "events_arrow": lambda seed, now, days: EventGenerator(seed, now=now, days=days),
    "orders": lambda seed, now, days: OrderGenerator(seed, now=now, days=days),
}
"""What a pipeline's topic is filled with, by the pipeline's name: from a seed, a time and a number of days."""


def demo_project(folder: Path, pipelines: int) -> Project:
    """The packaged project, or one made in ``folder`` that holds the packaged pipeline and the second one.

    What is started with the project's ``folder`` as its current one finds exactly these pipelines.
    """
    if pipelines == 1:
        return Project(folder=OUTSIDE, defs=PACKAGED_DEFS)
    project = folder / "project"
    defs = project / PACKAGE / "defs"
    shutil.rmtree(project, ignore_errors=True)
    shutil.copytree(PACKAGED_DEFS, defs, ignore=shutil.ignore_patterns("__pycache__"))
    second = defs / "orders" / "defs.yaml"
    second.parent.mkdir()
    with resources.as_file(resources.files("arrow_ingest.demo") / "orders.yaml") as packaged:
        shutil.copyfile(packaged, second)
    (project / "pyproject.toml").write_text(PYPROJECT, encoding="utf-8")
    return Project(folder=project, defs=defs)
