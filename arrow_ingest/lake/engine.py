"""Names of DuckDB extensions in, an in-process DuckDB connection that has loaded them out. Nothing is installed."""

import importlib.util
import tempfile
import uuid
from pathlib import Path

import duckdb

from arrow_ingest.errors import MissingPart
from arrow_ingest.lake.sql import literal

MEMORY_LIMIT = "1GiB"
"""For the buffers of queries (`verify`, `sql`), which spill over it; a commit needs a few MB."""

SPILL_LIMIT = "16GiB"
"""On disk, per session. Without a limit DuckDB takes nine tenths of what is free, and the staged files find none."""

CATALOG_THREADS = 1
"""For sessions that change the catalog only: a commit's small statements take half the CPU on one thread than on two,
which wait for each other by spinning (87 against 168 ms a commit)."""

QUERY_THREADS = 2
"""For sessions that read or insert rows. More would only take memory from the writers beside us."""

_checked: set[tuple[Path, int, int]] = set()
"""Binaries whose signature this process has checked: path, inode, time of change.

The check hashes 36 MB per extension, which is nearly all that a connection costs (260 of 280 ms of CPU for two); what
is mapped already is what was checked.
"""


def connected(
    extensions: tuple[str, ...], *, threads: int = QUERY_THREADS, shows_secrets: bool = False
) -> duckdb.DuckDBPyConnection:
    """A connection to an empty in-memory database, in UTC: DuckDB partitions by day in the session's zone (FACTS).

    Args:
        shows_secrets: let it show secrets in full, for a connection that nobody else uses.

    Raises:
        MissingPart: an extension is neither installed nor can be.
    """
    files = [_extension_file(name) for name in extensions]
    binaries = {_identity(file) for file in files if file is not None}
    connection = duckdb.connect(
        config={
            "allow_unredacted_secrets": shows_secrets,
            "allow_unsigned_extensions": None not in files and binaries <= _checked,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "memory_limit": MEMORY_LIMIT,
            "max_temp_directory_size": SPILL_LIMIT,
            "threads": threads,
            # Of this session alone: DuckDB makes it when it spills, names its files alike everywhere, and removes it.
            "temp_directory": str(Path(tempfile.gettempdir()) / f"arrow-ingest-{uuid.uuid4()}"),
        }
    )
    try:
        connection.execute("SET TimeZone = 'UTC'")
        # Drawn on stdout, where reports go, when a statement takes seconds.
        connection.execute("SET enable_progress_bar = false")
        for name, file in zip(extensions, files, strict=True):
            _load(connection, name, file)
    except BaseException:
        connection.close()
        raise
    _checked.update(binaries)
    return connection


def _load(connection: duckdb.DuckDBPyConnection, name: str, file: Path | None) -> None:
    """Load an extension out of its wheel, so that neither HOME nor a second process matters; else DuckDB's own way.

    Raises:
        MissingPart: there is no wheel for this DuckDB, and DuckDB's own way needs a network that is not there.
    """
    try:
        if file is not None:
            connection.execute(f"LOAD {literal(str(file))}")
        else:
            connection.execute(f"INSTALL {name}")
            connection.execute(f"LOAD {name}")
    except duckdb.Error as error:
        raise MissingPart(
            f"DuckDB {duckdb.__version__} has no extension {name}: install the wheel of the same version "
            f"(pip install duckdb-extension-{name.replace('_', '-')}=={duckdb.__version__}); DuckDB says: {error}"
        ) from error


def _extension_file(name: str) -> Path | None:
    """The extension's binary in its wheel, which carries that of exactly one DuckDB version (FACTS)."""
    spec = importlib.util.find_spec(f"duckdb_extension_{name}")
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        file = Path(folder) / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension"
        if file.exists():
            return file
    return None


def _identity(file: Path) -> tuple[Path, int, int]:
    found = file.stat()
    return file, found.st_ino, found.st_mtime_ns
