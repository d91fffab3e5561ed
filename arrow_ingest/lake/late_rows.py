"""Rows that came late, ``arrow_ingest.late_rows``: one row per commit that brought some, by table partition.

A table of its own, so that the ledger of earlier lakes stays as it is; those get it from the first run of this version.
It tells what came since the last publication, so what is older than two volumes of the ledger goes: see `put_aside`.
"""

from collections.abc import Mapping

from arrow_ingest.lake.own_tables import has_own
from arrow_ingest.lake.schema import Column
from arrow_ingest.lake.session import Lake
from arrow_ingest.lake.sql import OWN_SCHEMA, create_table, insert, own, quoted

NAME = "late_rows"
LATE_ROWS = own(NAME)
BEFORE = "late_rows_before"
"""The table before the present one."""

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
    tables = [own(name) for name in lake.names_in(OWN_SCHEMA) if name in {NAME, BEFORE}]
    if not tables:
        return {}
    each = " UNION ALL ".join(
        f"SELECT unnest(table_partitions) AS late FROM {table} WHERE pipeline = $pipeline AND snapshot_id > $snapshot"
        for table in tables
    )
    rows = lake.execute(
        f'SELECT late."value", sum(late."rows")::BIGINT FROM ({each}) GROUP BY ALL ORDER BY ALL',
        {"pipeline": pipeline, "snapshot": snapshot_id},
    )
    return dict(rows)


def put_aside(lake: Lake) -> None:
    """Begin a new table, keep the one that was in use, drop the one before; the caller's transaction is open.

    As with the ledger, whose full tables are put aside at the same time, nothing is copied or deleted: a commit that is
    under way lands in either table. Dropping also ends what expiry never removes of inlined rows.
    """
    if not (has_own(lake, NAME) and lake.execute(f"SELECT 1 FROM {LATE_ROWS} LIMIT 1")):
        return
    if has_own(lake, BEFORE):
        lake.execute(f"DROP TABLE {own(BEFORE)}")
    lake.execute(f"ALTER TABLE {LATE_ROWS} RENAME TO {quoted(BEFORE)}")
    lake.execute(create_table(LATE_ROWS, COLUMNS))
