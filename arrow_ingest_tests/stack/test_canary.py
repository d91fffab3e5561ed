"""No secret shows: `make test-stack` runs this over all that it has written.

Every password and key of the stack begins with the same words. They are looked for in each file below pytest's folder:
lakes, catalogs, logs, Dagster's storage, the servers' own data, and what tests printed, logged and raised.
"""

import mmap
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from arrow_ingest.stack.secret import PREFIX, new_secret
from arrow_ingest_tests.reported import FILE_NAME

pytestmark = [pytest.mark.canary, pytest.mark.timeout(600)]

DIGITS = 32
SECRETS = (
    re.compile(re.escape(PREFIX.encode()) + b"[0-9a-f]{%d}" % DIGITS),
    re.compile(re.escape(PREFIX.encode("utf-16-le")) + b"(?:[0-9a-f]\\0){%d}" % DIGITS),
)
"""A secret, and not the words alone, which the stack's own source has."""

MAY_HOLD_SECRETS = {
    "users.json": "versitygw's accounts",
    "users.json.backup": "versitygw's accounts",
    "broker-1.properties": "Kafka's own settings: the password of its key store",
    "lake_files.duckdb_secret": "the DuckDB secret that a test makes persistent",
}
"""Files whose purpose is to hold a secret, by name."""


def holds_secret(file: Path) -> bool:
    """Whether a file has a secret in it, be it as UTF-8 or UTF-16."""
    if file.stat().st_size == 0:
        return False
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return any(secret.search(content) for secret in SECRETS)


def written_files(folder: Path) -> Iterator[Path]:
    """All regular files below, without those that exist to hold a secret."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink() and path.name not in MAY_HOLD_SECRETS:
            yield path


def test_a_secret_would_be_found(tmp_path: Path) -> None:
    quiet, loud, wide = (tmp_path / name for name in ("quiet.log", "loud.log", "wide.log"))
    quiet.write_text(f"password=***, {PREFIX}")
    loud.write_text(f"x{new_secret()}y")
    wide.write_bytes(f"x{new_secret()}y".encode("utf-16-le"))
    assert [file.name for file in written_files(tmp_path) if holds_secret(file)] == ["loud.log", "wide.log"]


def test_nothing_that_the_suite_has_written_holds_a_secret(pytestconfig: pytest.Config) -> None:
    folder: Path = pytestconfig.option.written
    files = list(written_files(folder))
    assert folder / FILE_NAME in files
    assert [str(file) for file in files if holds_secret(file)] == []
