"""The generated parts of `docs/`: which file holds what, and bringing them up to date."""

from pathlib import Path

from arrow_ingest.reference.configuration import configuration_page
from arrow_ingest.reference.types import type_table

TYPES_BEGIN, TYPES_END = "<!-- generated: make docs -->\n", "<!-- /generated -->\n"
"""What surrounds the table in `types.md`; the rest of that page is written by hand."""


def current_pages(folder: Path) -> dict[Path, str]:
    """Every page of ``folder`` with a generated part, as it should read."""
    types = folder / "types.md"
    return {
        folder / "configuration.md": configuration_page(),
        types: with_generated(types.read_text(encoding="utf-8"), type_table()),
    }


def with_generated(page: str, part: str) -> str:
    r"""A page with its generated part replaced.

    >>> with_generated(f"before\n{TYPES_BEGIN}old{TYPES_END}after\n", "new\n").splitlines()[2]
    'new'
    """
    before, begin, rest = page.partition(TYPES_BEGIN)
    _, end, after = rest.partition(TYPES_END)
    return f"{before}{begin}{part}{end}{after}"
