"""The layout itself: which room may import which, what stands in one place only, and that the check can fail."""

from pathlib import Path

import pytest

import arrow_ingest
from arrow_ingest_tests.layers import MAX_LINES, breaches, sources_below


def test_the_package_keeps_its_layers():
    found = breaches(sources_below(Path(arrow_ingest.__file__).parent))

    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("module", "source", "complaint"),
    [
        ("kafka.consumer", "from arrow_ingest.lake.session import Lake", "kafka may not import arrow_ingest.lake"),
        ("kafka.consumer", "from arrow_ingest import lake", "kafka may not import arrow_ingest.lake"),
        ("values", "from arrow_ingest.config import PipelineConfig", "values may not import arrow_ingest.config"),
        (
            "producer.arrow",
            "from arrow_ingest.config import KafkaConfig",
            "producer may not import arrow_ingest.config",
        ),
        ("pipeline", "def f():\n    import duckdb", "only lake may import duckdb"),
        ("components.assets", "import duckdb_extensions", "only lake may import duckdb_extensions"),
        ("pipeline", "import dagster as dg", "may import dagster"),
        ("cli.main", "from dagster_shared.serdes import pack_value", "may import dagster_shared"),
        ("cli.main", "from arrow_ingest.components import x", "cli may not import arrow_ingest.components"),
        ("lake.session", "import os\nhome = os.environ['HOME']", "environment is read in"),
        ("lake.session", "from os import getenv", "environment is read in"),
        ("attic.box", "", "has no place in the layers"),
        ("errors", "\n" * (MAX_LINES + 1), f"{MAX_LINES + 1} lines"),
        ("components.assets", "from __future__ import annotations", "cannot be deferred"),
        ("defs.events", "x = 1", "YAML only"),
    ],
)
def test_a_planted_breach_is_found(module: str, source: str, complaint: str):
    sources = {"arrow_ingest": "", "arrow_ingest.lake": "", f"arrow_ingest.{module}": source}

    assert any(complaint in breach for breach in breaches(sources)), breaches(sources)


def test_an_import_cycle_is_found():
    sources = {
        "arrow_ingest.ipc.a": "from arrow_ingest.ipc import b",
        "arrow_ingest.ipc.b": "from arrow_ingest.ipc.a import A",
        "arrow_ingest.ipc": "",
    }

    assert breaches(sources) == ["import cycle: arrow_ingest.ipc.a <- arrow_ingest.ipc.b <- arrow_ingest.ipc.a"]


def test_a_lazy_import_is_no_cycle_but_keeps_the_layers():
    sources = {
        "arrow_ingest.ipc.a": "def f():\n    from arrow_ingest.ipc.b import B\n    from arrow_ingest.cli import main",
        "arrow_ingest.ipc.b": "from arrow_ingest.ipc.a import A",
        "arrow_ingest.cli": "",
    }

    assert breaches(sources) == ["arrow_ingest.ipc.a:3: ipc may not import arrow_ingest.cli"]


def test_a_good_module_passes():
    sources = {
        "arrow_ingest.lake.commit": "import duckdb\nfrom arrow_ingest.values import Receipt",
        "arrow_ingest.pipeline.drain": "from arrow_ingest.lake.commit import commit",
        "arrow_ingest.values": "import pyarrow",
        "arrow_ingest.environment": "import os\nos.environ.get('X')",
    }

    assert breaches(sources) == []
