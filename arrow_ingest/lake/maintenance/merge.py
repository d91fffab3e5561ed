"""Small files of a table and of its dead letters to few: by DuckLake's own merge, a bounded piece per transaction.

Snapshots, time travel and change feeds stay as they are: a merged file holds which snapshot each row came with. The
merge conflicts with no commit of a lane. A rollback does not delete the files that it wrote (a fact that a test pins),
so a lost answer to COMMIT takes nothing away; such files are orphans, or part of the table.
"""

from dataclasses import dataclass
from functools import partial

from arrow_ingest.config import Parquet
from arrow_ingest.errors import CatalogUnavailable
from arrow_ingest.lake.dead_letters import dead_letter_table
from arrow_ingest.lake.maintenance.merge_policy import SmallFile, Window, best_window, is_left_alone, windows
from arrow_ingest.lake.maintenance.partition_keys import put_right
from arrow_ingest.lake.maintenance.report import Outcome, StepReport
from arrow_ingest.lake.maintenance.work import Work
from arrow_ingest.lake.sql import LAKE
from arrow_ingest.lake.statistics import METADATA

_SMALL = f"""
SELECT f.data_file_id, f.path, f.file_size_bytes,
       concat_ws('/', f.partition_id, (
           SELECT max(v.begin_snapshot) FROM {METADATA}.ducklake_schema_versions v
           WHERE v.table_id = f.table_id AND v.begin_snapshot <= f.begin_snapshot))
FROM {METADATA}.ducklake_data_file f
JOIN {METADATA}.ducklake_table t USING (table_id)
JOIN {METADATA}.ducklake_schema s USING (schema_id)
WHERE lower(s.schema_name) = lower($schema) AND lower(t.table_name) = lower($table)
  AND t.end_snapshot IS NULL AND s.end_snapshot IS NULL AND f.end_snapshot IS NULL
  AND f.file_size_bytes < $stop
  AND NOT EXISTS (SELECT 1 FROM {METADATA}.ducklake_delete_file d WHERE d.data_file_id = f.data_file_id)
ORDER BY f.begin_snapshot, f.row_id_start, f.data_file_id
"""
"""In DuckLake's own order. Files of one table partition and one shape of the table are merged, without deleted rows."""

_MERGE = f"""
CALL ducklake_merge_adjacent_files('{LAKE}', ?, schema => ?, min_file_size => ?, max_file_size => ?,
                                   max_compacted_files => ?)
"""

_CODECS = {"none": "uncompressed", "lz4": "lz4_raw"}
"""Where DuckDB's name of a codec is not pyarrow's."""


@dataclass(slots=True)
class _Done:
    """What was merged so far, or would be."""

    files: int = 0
    outputs: int = 0
    size_bytes: int = 0
    is_complete: bool = True


def merge(work: Work) -> StepReport:
    """Merge until nothing is worth it any more, the bytes of one run are read, or the time is over.

    Raises:
        LaneLockLost, CatalogUnavailable, CommitConflict, OutcomeUnknown: what was merged before stays merged.
    """
    done = _Done()
    for table in (work.config.lake.table, dead_letter_table(work.config.lake.table)):
        if work.is_dry_run:
            _count(work, table, done)
        else:
            _merge_table(work, table, done)
    numbers = {"files_merged": done.files, "files_written": done.outputs, "bytes_read": done.size_bytes}
    if work.is_dry_run:
        outcome = Outcome.PLANNED if done.files else Outcome.NOTHING
        return StepReport(work.step, outcome, f"{done.files} files would become {done.outputs}", numbers)
    outcome = Outcome.DONE if done.files else Outcome.NOTHING
    says = f"{done.files} files became {done.outputs}"
    if not done.is_complete:
        return StepReport(work.step, Outcome.POSTPONED, f"{says}; the next run goes on", numbers)
    return StepReport(work.step, outcome, says, numbers)


def small_files(work: Work, table: str, newest_id: int | None = None) -> tuple[SmallFile, ...]:
    """The files that DuckLake may merge, in its order.

    Args:
        newest_id: what lanes add after this file is not counted, save where it has to be left alone: a run that went
            after a stream would come to no end. What merges wrote is.
    """
    named = {"schema": work.config.lake.schema_name, "table": table, "stop": int(work.settings.merge.small_file_bytes)}
    by = work.config.partition_by if table == work.config.lake.table else None
    newest = work.settings.merge.leave_newest
    alone: dict[str, bool] = {}
    found = []
    for file_id, path, size, shape in work.lake.execute(_SMALL, named):
        folder = path.rpartition("/")[0]
        if by is not None and by.unit != "value" and folder not in alone:
            alone[folder] = is_left_alone(folder, by.unit, work.now, newest)
        is_alone, is_merged = alone.get(folder, False), path.startswith(f"{folder}/ducklake-")
        if newest_id is None or file_id <= newest_id or is_alone or is_merged:
            found.append(SmallFile(file_id, f"{folder}/{shape}", size, is_left_alone=is_alone))
    return tuple(found)


def _count(work: Work, table: str, done: _Done) -> None:
    """What a run would begin with: merged files may be merged again."""
    merging = work.settings.merge
    for window in windows(
        small_files(work, table),
        target_bytes=int(merging.target_file_bytes),
        stop_bytes=int(merging.small_file_bytes),
    ):
        if window.saved >= merging.min_files:
            done.files += window.files
            done.outputs += window.outputs
            done.size_bytes += window.size_bytes


def _merge_table(work: Work, table: str, done: _Done) -> None:
    _compress_alike(work, work.config.lake.schema_name, table)
    newest_id = max((file.file_id for file in small_files(work, table)), default=0)
    before = _sizes(work, table, newest_id)
    while True:
        put_right(work, table)
        if not work.has_time or done.size_bytes >= work.settings.merge.max_bytes:
            done.is_complete = _worthwhile(work, table, newest_id) is None
            return
        outputs = work.write(partial(_merge_some, work, table, newest_id))
        left = _sizes(work, table, newest_id)
        gone = [size for file_id, size in before.items() if file_id not in left]
        if not gone:  # nothing is worth it any more, or DuckLake sees it otherwise: the next run may find it changed
            return
        done.files += len(gone)
        done.outputs += outputs
        done.size_bytes += sum(gone)
        before = left


def _merge_some(work: Work, table: str, newest_id: int) -> int:
    """In the open transaction, about one output's worth, or several small ones; how many files were written."""
    window = _worthwhile(work, table, newest_id)
    if window is None:
        return 0
    schema, target = work.config.lake.schema_name, int(work.settings.merge.target_file_bytes)
    most = max(1, target // max(1, window.largest_bytes))
    work.sign(f"merge files of {table}")
    rows = work.lake.execute(_MERGE, [table, schema, window.min_bytes, window.stop_bytes, most])
    _settle(work)
    return sum(int(created) for _, _, _, created in rows)


def _worthwhile(work: Work, table: str, newest_id: int) -> Window | None:
    """What to merge now; None: that would save too few files."""
    merging = work.settings.merge
    window = best_window(
        small_files(work, table, newest_id),
        target_bytes=int(merging.target_file_bytes),
        stop_bytes=int(merging.small_file_bytes),
    )
    return None if window is None or window.saved < merging.min_files else window


def _sizes(work: Work, table: str, newest_id: int) -> dict[int, int]:
    """Bytes of each file that may be merged, by its id."""
    return {file.file_id: file.size_bytes for file in small_files(work, table, newest_id)}


def _compress_alike(work: Work, schema: str, table: str) -> None:
    """Have DuckDB compress as the YAML says; it would take snappy, which is more than twice as large."""
    wanted = {"parquet_compression": codec_of(work.config.parquet)}
    if work.config.parquet.compression == "zstd" and work.config.parquet.compression_level is not None:
        wanted["parquet_compression_level"] = str(work.config.parquet.compression_level)
    rows = work.lake.execute(
        "SELECT option_name, value FROM ducklake_options(?) WHERE scope = 'TABLE' AND lower(scope_entry) = lower(?)",
        [LAKE, f"{schema}.{table}"],
    )
    held = dict(rows)
    text = f"CALL {LAKE}.set_option(?, ?, schema => ?, table_name => ?)"
    for name, value in wanted.items():
        if held.get(name) != value:
            work.write(partial(work.execute, text, [name, value, schema, table]))


def codec_of(parquet: Parquet) -> str:
    """The codec as DuckDB calls it.

    >>> codec_of(Parquet(compression="lz4")), codec_of(Parquet())
    ('lz4_raw', 'zstd')
    """
    return _CODECS.get(parquet.compression, parquet.compression)


def _settle(work: Work) -> None:
    """Return once DuckDB's files are on disk, which it does not wait for (FACTS).

    Raises:
        CatalogUnavailable: they cannot be made to.
    """
    try:
        work.lake.store.settle_foreign(None)
    except OSError as error:
        raise CatalogUnavailable(f"merged files cannot be made durable: {error}") from error
