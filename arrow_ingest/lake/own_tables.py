"""A name in, whether the lake has such a table of arrow_ingest's own: lakes of earlier versions lack some."""

from arrow_ingest.lake.session import Lake
from arrow_ingest.lake.sql import LAKE, OWN_SCHEMA


def has_own(lake: Lake, name: str) -> bool:
    """Whether it is there, in the open transaction if there is one."""
    return bool(
        lake.execute(
            "SELECT 1 FROM duckdb_tables() WHERE database_name = ? AND schema_name = ? AND table_name = ?",
            [LAKE, OWN_SCHEMA, name],
        )
    )
