"""Which of a file's partition values is the year, which the day: put right where DuckLake mixes them up.

`ducklake_add_data_files` of DuckLake 1.5.5 gives all partition values of a file one and the same key index where
several transforms are of one column, as our year, month and day are. A merge then takes them in any order: files of
one day fall into two groups, and the merged file is written down as of the year 11 and the month 2026 (seen on
SQLite). Queries do not look at that yet. The folder of a file says what each value is, so the indexes are written
again before files are merged.

This is the one place that writes into a table of DuckLake's own. It changes the order of values that are there, and
only where the folder names the very same ones.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from arrow_ingest.lake.maintenance.work import Work
from arrow_ingest.lake.statistics import METADATA

CHUNK = 2_000
"""Files that one transaction puts right."""

_MIXED = f"""
SELECT f.data_file_id, f.table_id, f.path, list(p.partition_value)
FROM {METADATA}.ducklake_file_partition_value p
JOIN {METADATA}.ducklake_data_file f USING (data_file_id)
JOIN {METADATA}.ducklake_table t ON t.table_id = f.table_id
JOIN {METADATA}.ducklake_schema s ON s.schema_id = t.schema_id
WHERE lower(s.schema_name) = lower(?) AND lower(t.table_name) = lower(?)
  AND t.end_snapshot IS NULL AND s.end_snapshot IS NULL AND f.end_snapshot IS NULL
GROUP BY ALL HAVING count(DISTINCT p.partition_key_index) < count(*)
ORDER BY f.data_file_id
"""

_TRANSFORMS = f"""
SELECT transform FROM {METADATA}.ducklake_partition_column
WHERE table_id = ? AND partition_id = (
    SELECT max(partition_id) FROM {METADATA}.ducklake_partition_info WHERE table_id = ? AND end_snapshot IS NULL)
ORDER BY partition_key_index
"""

_VALUES = f"{METADATA}.ducklake_file_partition_value"


def put_right(work: Work, table: str) -> int:
    """Put the partition values of a table's files into their order; how many files it was.

    Raises:
        LaneLockLost, CatalogUnavailable, CommitConflict: what was put right before stays so.
    """
    mixed = work.lake.execute(_MIXED, [work.config.lake.schema_name, table])
    if not mixed:
        return 0
    transforms = _transforms(work, mixed[0][1])
    files = [
        (file_id, table_id, ordered)
        for file_id, table_id, path, values in mixed
        if (ordered := ordered_values(path, transforms, values)) is not None
    ]
    for start in range(0, len(files), CHUNK):
        _write(work, files[start : start + CHUNK])
    return len(files)


def ordered_values(path: str, transforms: Sequence[str], values: Iterable[str | None]) -> tuple[str, ...] | None:
    """A file's partition values as its folder names them; None: they are not those that the catalog has.

    >>> ordered_values("year=2026/month=11/day=4/a.parquet", ["year", "month", "day"], ["11", "2026", "4"])
    ('2026', '11', '4')
    >>> ordered_values("year=2026/month=11/day=4/a.parquet", ["year", "month", "day"], ["11", "2026", "5"]) is None
    True
    """
    named: Mapping[str, str] = dict(part.split("=", 1) for part in path.split("/")[:-1] if "=" in part)
    if any(transform not in named for transform in transforms):
        return None
    ordered = tuple(named[transform] for transform in transforms)
    return ordered if sorted(ordered) == sorted(value or "" for value in values) else None


def _transforms(work: Work, table_id: int) -> list[str]:
    return [transform for (transform,) in work.lake.execute(_TRANSFORMS, [table_id, table_id])]


def _write(work: Work, files: Sequence[tuple[int, int, tuple[str, ...]]]) -> None:
    rows = list(_rows(files))

    def write() -> None:
        work.lake.execute(
            f"DELETE FROM {_VALUES} WHERE data_file_id IN (SELECT unnest(?))", [[file_id for file_id, _, _ in files]]
        )
        work.lake.execute(
            f"INSERT INTO {_VALUES} SELECT unnest(?), unnest(?), unnest(?), unnest(?)",
            [list(column) for column in zip(*rows, strict=True)],
        )

    work.write(write)


def _rows(files: Iterable[tuple[int, int, tuple[str, ...]]]) -> Iterator[tuple[int, int, int, str]]:
    for file_id, table_id, values in files:
        for index, value in enumerate(values):
            yield file_id, table_id, index, value
