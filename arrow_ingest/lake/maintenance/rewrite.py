"""Files that lost rows to DELETE, written again without them: staged by us, then exchanged in a short transaction.

Deleting all rows that a file has left takes the file out of the table without a new file, and adding one that we wrote
makes none either, so no rollback can delete what a lost answer to COMMIT had made part of a snapshot. DuckLake's own
``rewrite_data_files`` cannot say that (FACTS), and is not used. The table keeps its rows; to a change feed they look
deleted and inserted.
"""

import uuid
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

import duckdb
import pyarrow as pa

from arrow_ingest.errors import CatalogUnavailable, CommitConflict, LaneBusy
from arrow_ingest.lake.file_check import FULL_PATH
from arrow_ingest.lake.lanes import lane_numbers
from arrow_ingest.lake.lock_wait import waited_for
from arrow_ingest.lake.maintenance.report import Outcome, StepReport
from arrow_ingest.lake.maintenance.work import Work
from arrow_ingest.lake.new_rows import add_files
from arrow_ingest.lake.row_groups import RowGroupFile
from arrow_ingest.lake.schema import plan_for
from arrow_ingest.lake.sql import in_lake, quoted
from arrow_ingest.lake.sqltypes import fold
from arrow_ingest.lake.staging import names_in_file, table_folder
from arrow_ingest.lake.statistics import METADATA
from arrow_ingest.lake.tables import read_table_schema
from arrow_ingest.values import StagedFile

BATCH_ROWS = 8_192

_LOSSY = f"""
SELECT {FULL_PATH}, f.record_count - d.delete_count, f.file_size_bytes
FROM {METADATA}.ducklake_data_file f
JOIN {METADATA}.ducklake_delete_file d ON d.data_file_id = f.data_file_id AND d.end_snapshot IS NULL
JOIN {METADATA}.ducklake_table t ON t.table_id = f.table_id
JOIN {METADATA}.ducklake_schema s ON s.schema_id = t.schema_id
WHERE lower(s.schema_name) = lower($schema) AND lower(t.table_name) = lower($table)
  AND t.end_snapshot IS NULL AND s.end_snapshot IS NULL AND f.end_snapshot IS NULL
  AND d.delete_count >= $share * f.record_count AND d.delete_count < f.record_count
ORDER BY d.delete_count DESC, f.data_file_id
"""


@dataclass(frozen=True, slots=True)
class LossyFile:
    """A file of the table, ``rows`` of which are left."""

    path: str
    rows: int
    size_bytes: int


def rewrite(work: Work) -> StepReport:
    """Rewrite the files that lost most rows, within the bytes of one run.

    Raises:
        LaneLockLost, CatalogUnavailable: what was rewritten before stays so.
    """
    settings, place = work.settings.rewrite, work.config.lake
    named = {
        "root": work.lake.store.root,
        "schema": place.schema_name,
        "table": place.table,
        "share": settings.min_deleted_share,
    }
    files = [LossyFile(*row) for row in work.lake.execute(_LOSSY, named)]
    numbers = {"files": len(files), "bytes_read": sum(file.size_bytes for file in files)}
    if not files:
        return StepReport(work.step, Outcome.NOTHING, "no file has lost many rows", numbers)
    if work.is_dry_run:
        return StepReport(work.step, Outcome.PLANNED, f"{len(files)} files would be written again", numbers)
    if reason := _obstacle(work):
        return StepReport(work.step, Outcome.POSTPONED, reason, {"files": 0, "bytes_read": 0})
    done = read = 0
    for file in files:
        if not work.has_time or (read and read + file.size_bytes > settings.max_bytes):
            break
        if not _exchange(work, file):
            break
        done, read = done + 1, read + file.size_bytes
    says = f"{done} of {len(files)} files were written again without deleted rows"
    outcome = Outcome.DONE if done == len(files) else Outcome.POSTPONED
    return StepReport(work.step, outcome, says, {"files": done, "bytes_read": read})


def _obstacle(work: Work) -> str | None:
    """Why this table cannot be rewritten by us; None: it can."""
    base = read_table_schema(work.lake, work.config.lake)
    names = {fold(column.name) for column in base.columns} if base else set()
    staged = {fold(name) for name in plan_for(work.config, base).target.names}
    if foreign := sorted(names - staged):
        return f"the types of {', '.join(foreign)} are never staged: use CALL ducklake_rewrite_data_files by hand"
    if "filename" in names:
        return "a column called filename hides which file a row is in"
    return None


def _exchange(work: Work, file: LossyFile) -> bool:
    """Write one file again and put the new one in its place; False: lanes are busy, or the file changed meanwhile."""
    staged = _staged(work, file)
    swap = partial(_swap, work, file, staged)
    try:
        return work.write(swap)
    except CommitConflict:  # deleting loses to every append; without appends it does not
        deadline = work.lock_deadline()
    try:
        with ExitStack() as held:
            for lane in lane_numbers(work.lake, work.config.name):
                take = partial(work.lake.catalog.lane_lock, work.config.name, lane, holder=work.run_id)
                held.enter_context(waited_for(take, deadline=deadline))
            return work.write(swap)
    except (LaneBusy, CommitConflict):
        return False


def _swap(work: Work, file: LossyFile, staged: StagedFile) -> bool:
    place = work.config.lake
    table = in_lake(place.schema_name, place.table)
    [(left,)] = work.lake.execute(f"SELECT count(*) FROM {table} WHERE filename = ?", [file.path])
    if left != staged.rows:
        return False  # somebody deleted more of it
    [(gone,)] = work.lake.execute(f"DELETE FROM {table} WHERE filename = ?", [file.path])
    if gone != staged.rows:
        raise CommitConflict(f"{gone} of {staged.rows} rows of {file.path} could be exchanged")
    add_files(work.lake, place.schema_name, place.table, [staged])
    work.sign(f"rewrite a file of {place.table}")
    return True


def _staged(work: Work, file: LossyFile) -> StagedFile:
    """The file's remaining rows in a new file beside it."""
    place, parquet = work.config.lake, work.config.parquet
    schema = plan_for(work.config, read_table_schema(work.lake, place)).target
    folder = file.path.rpartition("/")[0]
    hive = folder.removeprefix(table_folder(work.lake.store, place.schema_name, place.table)).strip("/")
    names = names_in_file(schema.names, hive)
    columns = ", ".join(map(quoted, schema.names))
    table = in_lake(place.schema_name, place.table)
    path = f"{folder}/maintenance-{uuid.uuid4()}.parquet"
    out = RowGroupFile(work.lake.store, path, None, parquet, partial(datetime.now, UTC))
    try:
        rows = work.lake.reader(f"SELECT {columns} FROM {table} WHERE filename = ?", [file.path], BATCH_ROWS)
        group: list[pa.RecordBatch] = []
        for batch in rows:
            group.append(batch)
            if sum(item.nbytes for item in group) >= parquet.row_group_bytes:
                out.write(pa.Table.from_batches(group).cast(schema).rename_columns(names))
                group = []
        if group:
            out.write(pa.Table.from_batches(group).cast(schema).rename_columns(names))
        staged = out.close()
    except (OSError, pa.ArrowException, duckdb.Error) as error:
        out.abandon()
        raise CatalogUnavailable(f"{file.path} cannot be written again: {error}") from error
    if staged is None or staged.rows != file.rows:
        raise CatalogUnavailable(
            f"{file.path} has {staged.rows if staged else 0} rows left, the catalog says {file.rows}"
        )
    return staged
