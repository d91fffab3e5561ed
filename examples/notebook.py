"""The examples put together as one executed notebook: ``python examples/notebook.py [FILE]``, default `tour.ipynb`."""

import ast
import contextlib
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
EXAMPLES = ("quick_start", "two_topics", "nested_types", "crash_and_resume", "schema_change", "dead_letters")
INTRODUCTION = """\
# A tour of arrow_ingest

Needs `pip install 'arrow-ingest[demo]'`, which brings a broker that keeps everything in memory. Each section stands by
itself and is a script beside this notebook, too. `ground.py` makes a project in a temporary folder, and calls
`arrow-ingest` as a shell would."""


def build() -> dict[str, Any]:
    """The notebook, its cells run in order in this process."""
    cells = [_markdown("introduction", INTRODUCTION)]
    for example in EXAMPLES:
        namespace: dict[str, Any] = {}
        for number, (kind, text) in enumerate(_cells_of(HERE / f"{example}.py")):
            cell_id = f"{example.replace('_', '-')}-{number}"
            cells.append(
                _markdown(cell_id, text) if kind == "markdown" else _code(cell_id, text, len(cells), namespace)
            )
    return {"cells": cells, "metadata": {"language_info": {"name": "python"}}, "nbformat": 4, "nbformat_minor": 5}


def _cells_of(script: Path) -> Iterator[tuple[str, str]]:
    """The cells of a script in the percent format: ``# %%`` begins one, ``# %% [markdown]`` one of comments."""
    for part in script.read_text().split("# %%")[1:]:
        first, _, rest = part.partition("\n")
        if "[markdown]" in first:
            yield "markdown", "\n".join(line.removeprefix("#").removeprefix(" ") for line in rest.strip().splitlines())
        else:
            yield "code", rest.strip()


def _markdown(cell_id: str, text: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "id": cell_id, "metadata": {}, "source": text}


def _code(cell_id: str, text: str, count: int, namespace: dict[str, Any]) -> dict[str, Any]:
    printed, value = _executed(text, cell_id, namespace)
    outputs: list[dict[str, Any]] = []
    if printed:
        outputs.append({"output_type": "stream", "name": "stdout", "text": printed})
    if value is not None:
        data = {"text/plain": repr(value)}
        outputs.append({"output_type": "execute_result", "execution_count": count, "data": data, "metadata": {}})
    source = {"cell_type": "code", "id": cell_id, "metadata": {}, "source": text}
    return {**source, "execution_count": count, "outputs": outputs}


def _executed(text: str, name: str, namespace: dict[str, Any]) -> tuple[str, object]:
    """What a cell prints, and the value of its last expression."""
    tree = ast.parse(text)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(tree, name, "exec"), namespace)
        value = eval(compile(ast.Expression(last.value), name, "eval"), namespace) if last else None
    return "\n".join(line.rstrip() for line in printed.getvalue().splitlines()), value


if __name__ == "__main__":
    file = Path(sys.argv[1]) if sys.argv[1:] else HERE / "tour.ipynb"
    file.write_text(json.dumps(build(), indent=1, ensure_ascii=False) + "\n")
