"""Dead letters in, one durable Parquet file out, for the table ``<table>__dead_letters``.

They never go through an INSERT: one large payload inlined into the catalog costs seconds and a gigabyte (FACTS).
"""

from collections.abc import Callable, Sequence
from datetime import datetime

import pyarrow as pa

from arrow_ingest.config import LakeConfig, Parquet
from arrow_ingest.lake.conform import instant_of_message
from arrow_ingest.lake.row_groups import RowGroupFile
from arrow_ingest.lake.sqltypes import HEADERS, TIMESTAMPTZ
from arrow_ingest.lake.staging import file_name, now, table_folder, write_failure
from arrow_ingest.lake.store import store_of
from arrow_ingest.values import DeadLetter, StagedFile

DEAD_LETTER_SCHEMA = pa.schema(
    [
        ("generation", pa.int32()),
        ("partition", pa.int32()),
        ("offset", pa.int64()),
        ("timestamp", TIMESTAMPTZ),
        ("key", pa.binary()),
        ("headers", HEADERS),
        ("payload", pa.binary()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("commit_id", pa.string()),
        ("dead_at", TIMESTAMPTZ),
    ]
)
"""The table's columns; `sql_text` gives their types in SQL."""

_IN_CATALOG = ["generation", "partition", "offset", "timestamp", "reason", "commit_id", "dead_at"]
"""Columns whose extremes the catalog may keep. Keys and payloads are other people's data and can be large."""


def dead_letter_table(table: str) -> str:
    """The name of the table that keeps what could not become rows of ``table``."""
    return f"{table}__dead_letters"


def stage_dead_letters(
    letters: Sequence[DeadLetter],
    lake: LakeConfig,
    parquet: Parquet,
    *,
    commit_id: str,
    lane: int,
    clock: Callable[[], datetime] = now,
) -> StagedFile | None:
    """Write a micro-batch's dead letters as one file and return once it is on disk; None when there are none.

    Raises:
        CatalogUnavailable, ConfigError: the data path cannot be written.
    """
    if not letters:
        return None
    store = store_of(lake)
    folder = table_folder(store, lake.schema_name, dead_letter_table(lake.table))
    file = RowGroupFile(
        store, f"{folder}/{file_name(lane, commit_id, 0)}", None, parquet, clock, statistics=_IN_CATALOG
    )
    try:
        file.write(_table(letters, commit_id, clock()))
        return file.close()
    except OSError as error:
        file.abandon()
        raise write_failure(store, folder, error) from error


def _table(letters: Sequence[DeadLetter], commit_id: str, dead_at: datetime) -> pa.Table:
    columns = {
        "generation": [letter.generation for letter in letters],
        "partition": [letter.partition for letter in letters],
        "offset": [letter.offset for letter in letters],
        "timestamp": [instant_of_message(letter.timestamp_ms) for letter in letters],
        "key": [letter.key for letter in letters],
        "headers": [[{"key": _text(key), "value": value} for key, value in letter.headers] for letter in letters],
        "payload": [None if letter.payload is None else letter.payload.to_pybytes() for letter in letters],
        "reason": [letter.rejection.reason.value for letter in letters],
        "detail": [_text(letter.rejection.detail) for letter in letters],
        "commit_id": [commit_id] * len(letters),
        "dead_at": [dead_at] * len(letters),
    }
    return pa.table(columns, schema=DEAD_LETTER_SCHEMA)


def _text(text: str) -> str:
    """Text that UTF-8 can hold, whatever a producer put into it: a dead letter must never fail to be written."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
