"""The examples run, and the notebook shows what they do now."""

import json
import re
import runpy
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The notebook as its cells make it here and now."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    notebook: dict[str, Any] = runpy.run_path(str(EXAMPLES / "notebook.py"))["build"]()
    return notebook


def comparable(printed: str) -> str:
    """A cell's output without what differs from run to run: numbers, save those of queries, and the tables' widths."""
    parts = re.split(r"(?m)^(?=\$ arrow-ingest)", printed)
    plain = [part if part.startswith("$ arrow-ingest sql") else re.sub(r"[\d.,]+", "#", part) for part in parts]
    return re.sub(r"─+", "─", re.sub(r"(# ?)+", "# ", re.sub(r"\s+", " ", "".join(plain))))


def shown(notebook: dict[str, Any]) -> list[tuple[str, str, list[str]]]:
    return [
        (
            cell["id"],
            cell["source"],
            [
                comparable(output["text"]) if output["output_type"] == "stream" else output["data"]["text/plain"]
                for output in cell.get("outputs", ())
            ],
        )
        for cell in notebook["cells"]
    ]


def test_the_notebook_is_what_the_examples_do(ran: dict[str, Any]) -> None:
    committed = json.loads((EXAMPLES / "tour.ipynb").read_text())
    assert shown(ran) == shown(committed), "`make notebook` writes it anew"
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {
        "ground",
        "notebook",
        *(cell["id"].rpartition("-")[0].replace("-", "_") for cell in committed["cells"][1:]),
    }
