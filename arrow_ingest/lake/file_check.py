"""The catalog's files in, findings out: does each one exist, open, and hold the rows that the catalog says?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from arrow_ingest.config import LakeConfig
from arrow_ingest.lake.dead_letters import dead_letter_table
from arrow_ingest.lake.findings import Code, Finding
from arrow_ingest.lake.session import Lake
from arrow_ingest.lake.statistics import METADATA
from arrow_ingest.lake.store import Store

FULL_PATH = """CASE WHEN f.path_is_relative = 0 THEN f.path
            WHEN t.path_is_relative = 0 THEN concat(t.path, f.path)
            WHEN s.path_is_relative = 0 THEN concat(s.path, t.path, f.path)
            ELSE concat($root, s.path, t.path, f.path) END"""
"""A file's path, of the file ``f``, the table ``t`` and the schema ``s``, below the data path ``$root``."""

_FILES = f"""
SELECT {FULL_PATH},
       f.{{count}}, f.file_size_bytes, f.begin_snapshot, f.encryption_key IS NOT NULL
FROM {METADATA}.{{files}} f
JOIN {METADATA}.ducklake_table t USING (table_id)
JOIN {METADATA}.ducklake_schema s USING (schema_id)
WHERE lower(s.schema_name) = lower($schema) AND list_contains($tables, lower(t.table_name))
  AND t.begin_snapshot <= $snapshot AND coalesce(t.end_snapshot > $snapshot, true)
  AND s.begin_snapshot <= $snapshot AND coalesce(s.end_snapshot > $snapshot, true)
  AND f.begin_snapshot <= $snapshot AND coalesce(f.end_snapshot > $snapshot, true)
ORDER BY f.data_file_id
"""

_DATA = _FILES.format(count="record_count", files="ducklake_data_file")
_DELETIONS = _FILES.format(count="delete_count", files="ducklake_delete_file")


@dataclass(frozen=True, slots=True)
class CatalogFile:
    """A Parquet file as the catalog describes it; ``since_snapshot`` is the first one that had it."""

    path: str
    rows: int
    size_bytes: int
    since_snapshot: int
    is_encrypted: bool


def read_files(lake: Lake, table: LakeConfig, *, snapshot: int) -> tuple[CatalogFile, ...]:
    """The files of the table and of its dead letters in a snapshot."""
    return _read(lake, table, snapshot, _DATA)


def read_files_of_deletions(lake: Lake, table: LakeConfig, *, snapshot: int) -> tuple[CatalogFile, ...]:
    """Those that say which rows were deleted, and how many: without one of them its table cannot be read."""
    return _read(lake, table, snapshot, _DELETIONS)


def _read(lake: Lake, table: LakeConfig, snapshot: int, text: str) -> tuple[CatalogFile, ...]:
    names = [table.table.lower(), dead_letter_table(table.table).lower()]
    named = {"root": lake.store.root, "schema": table.schema_name, "tables": names, "snapshot": snapshot}
    return tuple(CatalogFile(*row) for row in lake.execute(text, named))


def check_presence(store: Store, files: Sequence[CatalogFile]) -> Iterator[Finding]:
    """Look at the sizes of files: cheap enough to be done for all of them.

    Raises:
        CatalogUnavailable, ConfigError: the store does not answer.
    """
    sizes = store.sizes(file.path for file in files)
    for file in files:
        size = sizes[file.path]
        if isinstance(size, FileNotFoundError):
            yield Finding(Code.FILE_MISSING, f"{file.path} is not there")
        elif isinstance(size, OSError):
            yield Finding(Code.FILE_UNREADABLE, f"{file.path}: {size}")
        elif size != file.size_bytes:
            yield Finding(Code.FILE_DIFFERS, f"{file.path}: {size} bytes, the catalog says {file.size_bytes}")


def check_content(store: Store, file: CatalogFile, *, full: bool) -> Iterator[Finding]:
    """Look at the file's footer, or with ``full`` decode every page, by row group. Encrypted files stay shut.

    Raises:
        CatalogUnavailable, ConfigError: the store does not answer.
    """
    if file.is_encrypted:
        return
    try:
        if (rows := _rows(store, file.path, full=full)) != file.rows:
            yield Finding(Code.FILE_DIFFERS, f"{file.path}: {rows} rows, the catalog says {file.rows}")
    except (OSError, pa.ArrowException) as error:
        if isinstance(error, OSError) and (outage := store.outage(error, f"{file.path} cannot be read")) is not None:
            raise outage from error
        yield Finding(Code.FILE_UNREADABLE, f"{file.path}: {error}")


def _rows(store: Store, path: str, *, full: bool) -> int:
    with store.open(path) as source, pq.ParquetFile(source) as parquet:
        if not full:
            return int(parquet.metadata.num_rows)
        return sum(parquet.read_row_group(index).num_rows for index in range(parquet.num_row_groups))
