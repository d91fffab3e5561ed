"""A pipeline's place in the lake to the numbers that maintenance brings down."""

from arrow_ingest.config import PipelineConfig
from arrow_ingest.lake import ledger_volumes
from arrow_ingest.lake.dead_letters import dead_letter_table
from arrow_ingest.lake.lanes import lane_numbers
from arrow_ingest.lake.ledger import COMMITS
from arrow_ingest.lake.maintenance.report import Census
from arrow_ingest.lake.maintenance.rotation import dead_versions
from arrow_ingest.lake.session import Lake
from arrow_ingest.lake.sql import own
from arrow_ingest.lake.statistics import METADATA

_FILES = f"""
SELECT count(*), coalesce(sum(f.file_size_bytes), 0)::BIGINT,
       count(*) FILTER (f.file_size_bytes < $small AND d.data_file_id IS NULL), count(d.data_file_id)
FROM {METADATA}.ducklake_data_file f
JOIN {METADATA}.ducklake_table t ON t.table_id = f.table_id
JOIN {METADATA}.ducklake_schema s ON s.schema_id = t.schema_id
LEFT JOIN {METADATA}.ducklake_delete_file d ON d.data_file_id = f.data_file_id AND d.end_snapshot IS NULL
WHERE lower(s.schema_name) = lower($schema) AND list_contains($tables, lower(t.table_name))
  AND t.end_snapshot IS NULL AND s.end_snapshot IS NULL AND f.end_snapshot IS NULL
"""


def census(lake: Lake, config: PipelineConfig) -> Census:
    """Count; from the catalog alone, so that no file is opened."""
    named = {
        "schema": config.lake.schema_name,
        "tables": [config.lake.table.lower(), dead_letter_table(config.lake.table).lower()],
        "small": int(config.maintenance.merge.small_file_bytes),
    }
    [(files, size_bytes, small_files, with_deletes)] = lake.execute(_FILES, named)
    tables = [COMMITS, *(own(name) for name in ledger_volumes.volumes(lake))]
    if len(tables) > 1 or ledger_volumes.has_sums(lake):
        tables.append(ledger_volumes.ROLLED)
    lanes = lane_numbers(lake, config.name)
    return Census(
        files=files,
        size_bytes=size_bytes,
        small_files=small_files,
        files_with_deletes=with_deletes,
        snapshots=_count(lake, f"{METADATA}.ducklake_snapshot"),
        old_files=_count(lake, f"{METADATA}.ducklake_files_scheduled_for_deletion"),
        ledger_rows=sum(_count(lake, table) for table in tables),
        dead_versions=sum(dead_versions(lake, f"lanes_{config.name}_{lane}") for lane in lanes),
    )


def _count(lake: Lake, table: str) -> int:
    [(count,)] = lake.execute(f"SELECT count(*) FROM {table}")
    return int(count)
