"""`python -m arrow_ingest.reference DOCS`: write the generated parts of the documentation's folder."""

import sys
from pathlib import Path

from arrow_ingest.reference.pages import current_pages


def main() -> None:
    """Write what is out of date, and nothing else."""
    for file, text in current_pages(Path(sys.argv[1])).items():
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
