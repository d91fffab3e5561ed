"""Where an end-to-end test runs: a broker, a catalog and a store, each of one of two kinds.

What holds in one place has to hold in all of them, so such a test takes the fixture ``world`` and asks it for its
topic, its pipeline and its files. All eight are `make test-all`; a cheaper selection of them has every pair. A test
with other parameters runs with each of these in one world of `make test-stack`, not in all three.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from arrow_ingest.config import PipelineConfig
from arrow_ingest_tests.lake_contents import PARTITIONS, pipeline

EMBEDDED, KAFKA = "embedded", "kafka"
SQLITE, POSTGRES = "sqlite", "postgres"
LOCAL, S3 = "local", "s3"

MARKS: dict[tuple[str, str, str], str | None] = {
    (EMBEDDED, SQLITE, LOCAL): None,
    (EMBEDDED, POSTGRES, LOCAL): "postgres",
    # With the first one, every pair of kinds.
    (KAFKA, SQLITE, S3): "stack",
    (KAFKA, POSTGRES, LOCAL): "stack",
    (EMBEDDED, POSTGRES, S3): "stack",
    # The rest of the product.
    (KAFKA, SQLITE, LOCAL): "product",
    (EMBEDDED, SQLITE, S3): "product",
    (KAFKA, POSTGRES, S3): "product",
}
"""The mark of each world, by which a make target chooses it; `make test` takes those without one."""

WORLDS = [
    pytest.param(kinds, id="-".join(kinds), marks=[getattr(pytest.mark, mark)] if mark else [])
    for kinds, mark in MARKS.items()
]


def one_stack_world_for_each_parameter(items: Iterable[pytest.Item]) -> None:
    """Leave the other worlds of a parametrized test's nth set of parameters than the nth to `make test-all`."""
    of_test: defaultdict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        if _world_of(item) and item.get_closest_marker("stack"):
            of_test[item.nodeid.partition("[")[0]].append(item)
    for variants in of_test.values():
        parameters = [_but_world(item) for item in variants]
        numbers = {parameter: number for number, parameter in enumerate(dict.fromkeys(parameters))}
        worlds = list(dict.fromkeys(_world_of(item) for item in variants))
        for item, parameter in zip(variants, parameters, strict=True):
            wanted = worlds[numbers[parameter] % len(worlds)]
            if len(numbers) > 1 and _world_of(item) != wanted:
                item.own_markers[:] = [mark for mark in item.own_markers if mark.name != "stack"]
                item.add_marker("product")


def _world_of(item: pytest.Item) -> str:
    """The id of the item's world; nothing for one that takes no world."""
    return "-".join(item.callspec.params.get("world", ())) if hasattr(item, "callspec") else ""


def _but_world(item: pytest.Item) -> str:
    return item.name.replace(_world_of(item), "")


@dataclass(frozen=True, slots=True)
class World:
    """One place for one test: a lake of its own, and topics of its own on a broker that others use too.

    Args:
        new_topic: makes a topic of so many partitions and gives its name.
        catalog: address of an empty catalog.
        data_path: address of an empty store.
        files_root: the local folder where the store's objects are files.
    """

    tmp_path: Path
    bootstrap_servers: str
    new_topic: Callable[[int], str]
    catalog: str
    data_path: str
    files_root: Path

    def pipeline(self, partitions: int = PARTITIONS, **settings: Any) -> PipelineConfig:
        """The default pipeline over this lake and a new topic; ``settings`` replace top-level keys."""
        topic = self.new_topic(partitions)
        accepted = {"accept_unsafe_commit": True} if self.is_unsafe(settings) else {}
        return pipeline(
            self.tmp_path,
            self.bootstrap_servers,
            topic,
            catalog=self.catalog,
            data_path=self.data_path,
            **accepted,
            **settings,
        )

    def is_unsafe(self, settings: dict[str, Any]) -> bool:
        """Whether a pipeline has to accept here that a lost answer to COMMIT loses files."""
        return settings.get("writer") == "insert" and self.catalog.startswith("postgres:")

    def data_files(self) -> list[Path]:
        """The Parquet files below the data path, as files."""
        return sorted(self.files_root.rglob("*.parquet"))


def variables_of_s3(monkeypatch: pytest.MonkeyPatch, environ: Mapping[str, str]) -> None:
    """Make these the only AWS variables of this process and of its children."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
