"""The examples run, and the notebook shows what they do now."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


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


@pytest.mark.timeout(400)
def test_the_notebook_is_what_the_examples_do(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, str(EXAMPLES / "notebook.py"), str(tmp_path / "now.ipynb")], timeout=360, check=True
    )
    ran = json.loads((tmp_path / "now.ipynb").read_text())
    committed = json.loads((EXAMPLES / "tour.ipynb").read_text())
    assert shown(ran) == shown(committed), "`make notebook` writes it anew"
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {
        "ground",
        "notebook",
        *(cell["id"].rpartition("-")[0].replace("-", "_") for cell in committed["cells"][1:]),
    }
