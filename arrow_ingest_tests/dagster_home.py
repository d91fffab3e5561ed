"""A Dagster instance of its own per test, with the settings that the package brings."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

import dagster as dg
import pytest


@contextmanager
def instance_in(home: Path) -> Iterator[dg.DagsterInstance]:
    """An instance whose DAGSTER_HOME is ``home``, made with the packaged `dagster.yaml`."""
    home.mkdir(exist_ok=True)
    with resources.as_file(resources.files("arrow_ingest.demo") / "dagster.yaml") as packaged:
        shutil.copyfile(packaged, home / "dagster.yaml")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(home))
        with dg.DagsterInstance.from_config(str(home)) as instance:
            yield instance
