"""A lake and a number in, so many commits more in its catalog out: each as this project's own, written in bulk.

Fifty thousand commits one by one take an hour. What they leave in the catalog is regular: a snapshot, what changed in
it, a row of the ledger, and a version of the lane's row that is dead from the next snapshot on. So the last commit, one
that moved the lane behind an empty message, is the template of all that follow; `verify` agrees with what comes out.
"""

from arrow_ingest.lake.session import Lake
from arrow_ingest.lake.sql import OWN_SCHEMA, quoted
from arrow_ingest.lake.statistics import METADATA

_INLINED = f"""
SELECT i.table_id, i.table_name FROM {METADATA}.ducklake_inlined_data_tables i
JOIN {METADATA}.ducklake_table t USING (table_id) JOIN {METADATA}.ducklake_schema s USING (schema_id)
WHERE s.schema_name = ? AND t.table_name = ? AND t.end_snapshot IS NULL AND s.end_snapshot IS NULL
"""


def add_empty_commits(lake: Lake, *, lane_table: str, count: int) -> None:
    """Write ``count`` commits behind the last one, which took one empty message of partition 0.

    Args:
        lane_table: the name of the lane's table.
    """
    [(last, offset)] = lake.execute(
        f"SELECT max(snapshot_id), (SELECT max(ranges[1].stop) FROM lake.{OWN_SCHEMA}.commits) "
        f"FROM {METADATA}.ducklake_snapshot"
    )
    ledger_id, ledger = _inlined(lake, "commits")
    lane_id, lane = _inlined(lake, lane_table)
    with lake.transaction():
        for text in (
            f"CREATE TEMP TABLE template AS SELECT * FROM {ledger} WHERE begin_snapshot = {last}",
            f"CREATE TEMP TABLE version AS SELECT * FROM {lane} WHERE begin_snapshot = {last}",
            f"""
            INSERT INTO {METADATA}.ducklake_snapshot
            SELECT s.* REPLACE (
                {last} + i AS snapshot_id,
                CAST(s.snapshot_time AS TIMESTAMPTZ) + i * INTERVAL 1 MICROSECOND AS snapshot_time)
            FROM {METADATA}.ducklake_snapshot s, range(1, {count} + 1) numbers(i) WHERE s.snapshot_id = {last}
            """,
            f"""
            INSERT INTO {METADATA}.ducklake_snapshot_changes
            SELECT c.* REPLACE ({last} + i AS snapshot_id)
            FROM {METADATA}.ducklake_snapshot_changes c, range(1, {count} + 1) numbers(i) WHERE c.snapshot_id = {last}
            """,
            f"""
            INSERT INTO {ledger}
            SELECT t.* REPLACE (
                row_id + i AS row_id, {last} + i AS begin_snapshot, CAST(uuid() AS VARCHAR) AS commit_id,
                printf('[{{''partition'': 0, ''start'': %d, ''stop'': %d}}]', {offset} + i - 1, {offset} + i) AS ranges)
            FROM template t, range(1, {count} + 1) numbers(i)
            """,
            f"UPDATE {lane} SET end_snapshot = {last} + 1 WHERE end_snapshot IS NULL",
            f"""
            INSERT INTO {lane}
            SELECT v.* REPLACE (
                {last} + i AS begin_snapshot, CASE WHEN i < {count} THEN {last} + i + 1 END AS end_snapshot,
                printf('[%d]', {offset} + i) AS offsets)
            FROM version v, range(1, {count} + 1) numbers(i)
            """,
            f"""
            UPDATE {METADATA}.ducklake_table_stats
            SET record_count = record_count + {count}, next_row_id = next_row_id + {count} WHERE table_id = {ledger_id}
            """,
            f"""
            UPDATE {METADATA}.ducklake_table_stats SET record_count = record_count + {count} WHERE table_id = {lane_id}
            """,
            "DROP TABLE template",
            "DROP TABLE version",
        ):
            lake.execute(text)


def _inlined(lake: Lake, table: str) -> tuple[int, str]:
    """The id of one of our own tables, and the table of the catalog that holds its rows."""
    [(table_id, name)] = lake.execute(_INLINED, [OWN_SCHEMA, table])
    return table_id, f"{METADATA}.{quoted(name)}"
