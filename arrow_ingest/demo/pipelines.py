"""How many pipelines in; the project that Dagster loads, with models, and what their producers send, out."""

import shutil
from collections.abc import Callable, Mapping
from datetime import datetime
from importlib import resources
from pathlib import Path

from arrow_ingest.producer.events import EventGenerator
from arrow_ingest.producer.orders import OrderGenerator
from arrow_ingest.producer.produce import BatchSource
from arrow_ingest.project import PACKAGED_DEFS, Project

PACKAGE = "demo_pipelines"
PYPROJECT = f"""\
# Written by `arrow-ingest demo`: the packaged pipeline and models of its table, as in a project of one's own.
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
    """The project that the demo makes in ``folder``: the packaged pipeline, models of its table, a second pipeline.

    What is started with the project's ``folder`` as its current one finds exactly these.
    """
    project = folder / "project"
    defs = project / PACKAGE / "defs"
    shutil.rmtree(project, ignore_errors=True)
    shutil.copytree(PACKAGED_DEFS, defs, ignore=shutil.ignore_patterns("__pycache__"))
    with resources.as_file(resources.files("arrow_ingest.demo")) as packaged:
        shutil.copytree(packaged / "models", defs / "models")
        if pipelines > 1:
            (defs / "orders").mkdir()
            shutil.copyfile(packaged / "orders.yaml", defs / "orders" / "defs.yaml")
    (project / "pyproject.toml").write_text(PYPROJECT, encoding="utf-8")
    return Project(folder=project, defs=defs)
