"""A folder in, a DuckLake that is written by plain INSERT out: what the alternatives write to."""

from pathlib import Path

import duckdb

from arrow_ingest.lake.engine import connected
from arrow_ingest.producer.events import EVENT_SCHEMA

_TYPES = {"string": "VARCHAR", "int64": "BIGINT"}


def new_lake(folder: Path) -> duckdb.DuckDBPyConnection:
    """A connection to a new lake with an empty table ``lake.events``: the columns as they come, no partitions, no cast.

    The catalog is a SQLite file in WAL mode, as this project's is.
    """
    connection = connected(("sqlite_scanner", "ducklake"))
    (folder / "data").mkdir(parents=True)
    connection.execute(
        f"ATTACH 'ducklake:sqlite:{folder / 'catalog.sqlite'}' AS lake "
        f"(DATA_PATH '{folder / 'data'}/', META_JOURNAL_MODE 'WAL')"
    )
    columns = ", ".join(f'"{field.name}" {_TYPES[str(field.type)]}' for field in EVENT_SCHEMA)
    connection.execute(f"CREATE TABLE lake.events ({columns})")
    return connection


def size_on_disk(folder: Path) -> tuple[int, int]:
    """Parquet files below a folder, and their bytes."""
    sizes = [file.stat().st_size for file in folder.rglob("*.parquet")]
    return len(sizes), sum(sizes)
