"""Row counts by the catalog's statistics: what the ledger's own numbers are compared with."""

from pathlib import Path

import pytest

from arrow_ingest.config import LakeConfig
from arrow_ingest.lake.session import open_lake
from arrow_ingest.lake.statistics import rows_by_partition
from arrow_ingest.table_shape import PartitionBy

BY_DAY = PartitionBy.model_validate({"column": "ts", "start": "2026-01-01"})


@pytest.mark.parametrize("is_partitioned", [True, False])
def test_files_rewritten_by_others_are_counted_as_the_table_counts_them(tmp_path: Path, is_partitioned: bool) -> None:
    table = LakeConfig(catalog=f"sqlite:{tmp_path}/catalog.sqlite", data_path=f"{tmp_path}/data", table="events")
    with open_lake(table) as lake:
        lake.execute("CREATE TABLE lake.main.events (ts TIMESTAMPTZ, n INTEGER)")
        if is_partitioned:
            lake.execute("ALTER TABLE lake.main.events SET PARTITIONED BY (year(ts), month(ts), day(ts))")
        days = "(VALUES (TIMESTAMPTZ '2026-03-01 23:30:00+00'), ('2026-03-02 00:30:00+00'), (NULL))"
        for _ in range(2):
            lake.execute(f"INSERT INTO lake.main.events SELECT ts, n FROM {days} days(ts), range(50) numbers(n)")
        lake.execute("DELETE FROM lake.main.events WHERE n = 7 AND ts < TIMESTAMPTZ '2026-03-02'")
        by = BY_DAY if is_partitioned else None
        with lake.snapshot():
            before = rows_by_partition(lake, table, by)
        lake.execute("CALL ducklake_merge_adjacent_files('lake')")
        with lake.snapshot():
            assert rows_by_partition(lake, table, by) == before
    assert before == ({"2026-03-01": 98, "2026-03-02": 100, None: 100} if is_partitioned else {None: 298})
