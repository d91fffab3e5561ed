"""Where an end-to-end test runs: a broker, a catalog and a store, each of one of two kinds.

What holds in one place has to hold in all of them, so such a test takes the fixture ``world`` and asks it for its
topic, its pipeline and its files. All eight are `make test-all`; a cheaper selection of them has every pair.
"""

import os
from collections.abc import Callable, Mapping
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
