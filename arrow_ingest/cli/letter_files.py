"""Dead letters in, one file per payload and an index of them out."""

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path

from arrow_ingest.cli.output import plain
from arrow_ingest.lake.dead_letter_query import Body, StoredLetter

INDEX = "index.json"


def write_letters(folder: Path, letters: Iterable[tuple[StoredLetter, Body]]) -> Path:
    """Write the payloads, one in memory at a time, then the index; its path. Files of the same name are replaced.

    An entry's ``file`` is None where the message had no value. Keys, and the values of headers, are in hex.

    Raises:
        OSError: the folder cannot be made or written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    entries: list[dict[str, object]] = []
    for letter, body in letters:
        file = None
        if body.payload is not None:
            file = f"{letter.generation}-{letter.partition}-{letter.offset}.bin"
            (folder / file).write_bytes(body.payload)
        headers = [{"key": key, "value": value} for key, value in body.headers]
        entries.append({"file": file, **dataclasses.asdict(letter), "key": body.key, "headers": headers})
    index = folder / INDEX
    index.write_text(json.dumps(entries, default=plain, indent=2, ensure_ascii=False), encoding="utf-8")
    return index
