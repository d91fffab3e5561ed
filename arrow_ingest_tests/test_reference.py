"""What is generated from the model and the type rules: the editors' schema and the pages of the documentation."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from dagster.components.core.defs_module import ComponentFileModel
from pyarrow import lib

from arrow_ingest.config import PipelineConfig
from arrow_ingest.documents import load_documents
from arrow_ingest.ipc.types import refusal
from arrow_ingest.lake.sqltypes import storable
from arrow_ingest.project import PACKAGED_DEFS, yaml_files
from arrow_ingest.reference.json_schema import BESIDE_ATTRIBUTES, document_schema
from arrow_ingest.reference.pages import current_pages
from arrow_ingest.reference.settings import model_settings
from arrow_ingest.reference.types import SAMPLES
from arrow_ingest_tests.json_schema_check import disagreement

DOCS = Path(__file__).parent.parent / "docs"

SMALLEST: dict[str, Any] = {
    "name": "clicks",
    "kafka": {"topic": "clicks", "bootstrap_servers": "kafka:9092"},
    "lake": {"catalog": "sqlite:lake.sqlite", "data_path": "data", "table": "clicks"},
}


def in_editor(**attributes: Any) -> str | None:
    """What an editor says about the smallest document with other settings on top."""
    schema = document_schema()
    return disagreement({"type": "arrow_ingest.KafkaToDuckLake", "attributes": SMALLEST | attributes}, schema, schema)


def test_editors_accept_the_packaged_pipeline_as_it_is_written() -> None:
    schema = document_schema()
    documents = [document for file in yaml_files(PACKAGED_DEFS) for document in load_documents(file)]
    assert documents
    for document in documents:
        assert disagreement({"type": document.type, "attributes": document.attributes}, schema, schema) is None


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"lanes": "{{ env.LANES }}"},
        {"flush": {"max_bytes": "64MiB", "max_age_seconds": 0.5}},
        {"flush": {"max_bytes": 1_000_000}},
        {"kafka": {**SMALLEST["kafka"], "properties": {"socket.keepalive.enable": True, "fetch.wait.max.ms": 5}}},
        {"partition_by": None, "parquet": {"compression_level": 3}},
    ],
)
def test_editors_accept_what_the_model_accepts(settings: dict[str, Any]) -> None:
    assert in_editor(**settings) is None
    if "{{" not in str(settings):
        PipelineConfig.model_validate(SMALLEST | settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"lane": 1},
        {"lanes": 0},
        {"flush": {"max_byte": 1}},
        {"run": {"until": "tomorrow"}},
        {"kafka": {"topic": "clicks"}},
        {"metadata_columns": ["_kafka_weight"]},
        {"partition_by": {"column": "at", "unit": "fortnight", "start": "2026-01-01"}},
    ],
)
def test_editors_refuse_what_the_model_refuses(settings: dict[str, Any]) -> None:
    assert in_editor(**settings) is not None
    with pytest.raises(ValueError, match="validation error"):
        PipelineConfig.model_validate(SMALLEST | settings)


def test_schema_knows_every_key_that_dagster_takes_beside_attributes() -> None:
    assert {"type", "attributes", *BESIDE_ATTRIBUTES} == set(ComponentFileModel.model_fields)


def test_every_setting_has_a_description() -> None:
    models = model_settings(PipelineConfig)
    assert [f"{m.name}.{s.key}" for m in models for s in m.settings if not s.description] == []


@pytest.mark.parametrize("name", ["configuration.md", "types.md"])
def test_page_is_current(name: str) -> None:
    page = DOCS / name
    assert page.read_text() == current_pages(DOCS)[page], "run `make docs`"


def test_pages_are_written_by_the_command(tmp_path: Path) -> None:
    (tmp_path / "types.md").write_text((DOCS / "types.md").read_text().replace("| `bool` |", "| `boole` |"))
    subprocess.run([sys.executable, "-m", "arrow_ingest.reference", str(tmp_path)], check=True, timeout=60)
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {
        name: (DOCS / name).read_text() for name in ("configuration.md", "types.md")
    }


def test_table_of_types_has_every_type_that_arrow_has() -> None:
    no_constructor = {lib.Type_INTERVAL_MONTHS, lib.Type_INTERVAL_DAY_TIME}
    known = {getattr(lib, name) for name in dir(lib) if name.startswith("Type_")}
    assert {kind.id for kind in SAMPLES} == known - no_constructor


@pytest.mark.parametrize("kind", SAMPLES, ids=str)
def test_what_the_guard_lets_in_the_lake_can_hold(kind: pa.DataType) -> None:
    assert refusal(kind) is not None or storable(kind) is not None


def test_links_between_pages_lead_somewhere() -> None:
    for page in DOCS.glob("*.md"):
        text = page.read_text()
        headings = {re.sub(r"[^\w -]", "", line.lstrip("# ")).lower().replace(" ", "-") for line in text.splitlines()}
        for target, anchor in re.findall(r"\]\(([^)#:]*)#?([^):]*)\)", text):
            assert not target or (DOCS / target).exists(), f"{page.name}: {target}"
            assert target or anchor in headings, f"{page.name}: #{anchor}"
