"""A pipeline's name in, all that the lake knows of it gone in one transaction: its table too, or all but its table."""

from dataclasses import dataclass

from arrow_ingest.lake import ledger, tables
from arrow_ingest.lake.dead_letters import dead_letter_table
from arrow_ingest.lake.lanes import lane_numbers, lane_table
from arrow_ingest.lake.session import Lake
from arrow_ingest.lake.sql import LAKE, OWN_SCHEMA, in_lake, own
from arrow_ingest.lake.statistics import METADATA

_SIZE = f"""
SELECT count(*), coalesce(sum(f.file_size_bytes), 0)::BIGINT
FROM {METADATA}.ducklake_data_file f
JOIN {METADATA}.ducklake_table t USING (table_id)
JOIN {METADATA}.ducklake_schema s USING (schema_id)
WHERE lower(s.schema_name) = lower($schema) AND lower(t.table_name) = lower($table)
  AND t.end_snapshot IS NULL AND s.end_snapshot IS NULL AND f.end_snapshot IS NULL
"""


@dataclass(frozen=True, slots=True)
class Held:
    """What the lake holds of a pipeline.

    Args:
        rows: of the ledger's commits, what others deleted since among them.
        files: those of the table as it is now, and their bytes.
    """

    pipeline: str
    schema: str
    table: str
    rows: int
    dead_letters: int
    files: int
    size_bytes: int


def held_of(lake: Lake, pipeline: str) -> Held | None:
    """What there is to drop; None: the pipeline never ran into this lake, or was dropped."""
    known = tables.registered(lake, pipeline)
    if known is None:
        return None
    [(files, size_bytes)] = lake.execute(_SIZE, {"schema": known.schema, "table": known.table})
    rows = sum(total.rows for total in ledger.partition_totals(lake, pipeline).values())
    return Held(pipeline, known.schema, known.table, rows, ledger.dead_letters(lake, pipeline), files, size_bytes)


def drop(lake: Lake, pipeline: str, *, keep_table: bool) -> bool:
    """Drop it; False: there was nothing to drop. Nobody drains it meanwhile: the caller holds its lanes' locks.

    Files stay until the snapshots that need them expire, so that time travel still reaches the rows.

    Args:
        keep_table: the table and its dead letters stay, as ordinary tables that no pipeline writes.

    Raises:
        CommitConflict, CatalogUnavailable: nothing was dropped, or (a lost answer) everything: ask again.
    """
    return lake.write(lambda: _drop(lake, pipeline, keep_table=keep_table))


def _drop(lake: Lake, pipeline: str, *, keep_table: bool) -> bool:
    known = tables.registered(lake, pipeline)
    if known is None:
        return False
    tables.claim(lake, pipeline)  # of a run that registers it anew at the same time, one is second
    if not keep_table:
        for name in (known.table, dead_letter_table(known.table)):
            lake.execute(f"DROP TABLE IF EXISTS {in_lake(known.schema, name)}")
    for lane in lane_numbers(lake, pipeline):
        lake.execute(f"DROP TABLE {lane_table(pipeline, lane)}")
    for name in _tables_by_pipeline(lake):
        lake.execute(f"DELETE FROM {own(name)} WHERE pipeline = ?", [pipeline])
    text = f"drop: {pipeline}, {'its table stays' if keep_table else 'with its table'}"
    lake.execute(f"CALL {LAKE}.set_commit_message(?, ?)", ["arrow_ingest", text])
    return True


def _tables_by_pipeline(lake: Lake) -> tuple[str, ...]:
    """Our own tables whose rows say whose they are, whatever they are called by now."""
    rows = lake.execute(
        "SELECT table_name FROM duckdb_tables() JOIN duckdb_columns() USING (database_name, schema_name, table_name) "
        "WHERE database_name = ? AND schema_name = ? AND column_name = 'pipeline' ORDER BY 1",
        [LAKE, OWN_SCHEMA],
    )
    return tuple(name for (name,) in rows)
