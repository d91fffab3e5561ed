"""Rows that came late, ``arrow_ingest.late_rows``: one row per commit that brought some, by table partition.

A table of its own, so that the ledger of earlier lakes stays as it is; those get it from the first run of this version.
"""

from collections.abc import Mapping

from arrow_ingest.lake.own_tables import has_own
from arrow_ingest.lake.schema import Column
from arrow_ingest.lake.session import Lake
from arrow_ingest.lake.sql import insert, own

NAME = "late_rows"
LATE_ROWS = own(NAME)

COLUMNS = (
    Column("commit_id", "VARCHAR"),
    Column("pipeline", "VARCHAR"),
    Column("table_partitions", 'STRUCT("value" VARCHAR, "rows" BIGINT)[]'),
)


def append(lake: Lake, pipeline: str, commit_id: str, late: Mapping[str, int]) -> None:
    """Write down what of a commit came late, if any did; the caller's transaction is open."""
    if late:
        partitions = [{"value": value, "rows": rows} for value, rows in sorted(late.items())]
        lake.execute(insert(LATE_ROWS, COLUMNS), (commit_id, pipeline, partitions))


def late_since(lake: Lake, pipeline: str, snapshot_id: int) -> dict[str, int]:
    """Rows that came late after a snapshot, by table partition."""
    if not has_own(lake, NAME):
        return {}
    rows = lake.execute(
        'SELECT late."value", sum(late."rows")::BIGINT FROM ('
        f"SELECT unnest(table_partitions) AS late FROM {LATE_ROWS} WHERE pipeline = ? AND snapshot_id > ?) "
        "GROUP BY ALL ORDER BY ALL",
        [pipeline, snapshot_id],
    )
    return dict(rows)
