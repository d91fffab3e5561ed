"""Slices of table partitions in, durable Parquet files that no snapshot refers to yet out.

Rows are collected per table partition across messages until a row group is full, so that a catch-up over many days does
not become many tiny files; full row groups are encoded on a pool of threads. Rows alias received buffers: a message's
memory is free once all of its rows are encoded.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import ceil

import pyarrow as pa

from arrow_ingest.config import LakeConfig, Parquet
from arrow_ingest.errors import ArrowIngestError, CatalogUnavailable, StageFailed
from arrow_ingest.lake.new_rows import StagedRows
from arrow_ingest.lake.partition import PartitionSlice
from arrow_ingest.lake.row_groups import RowGroupFile
from arrow_ingest.lake.sqltypes import fold
from arrow_ingest.lake.store import Store, store_of
from arrow_ingest.values import StagedFile

_FILES_PER_PARTITION = 2
"""A table partition gets a second file while its first one is being encoded and another thread is free."""


def now() -> datetime:
    """The wall clock, with zone."""
    return datetime.now(UTC)


@dataclass(slots=True)
class _RowGroup:
    """Rows that are written together, and the messages that they came from."""

    batches: list[pa.RecordBatch] = field(default_factory=list)
    rows: int = 0
    size_bytes: int = 0
    sources: dict[tuple[int, int], None] = field(default_factory=dict)

    def add(self, rows: pa.RecordBatch, size_bytes: int, source: tuple[int, int]) -> None:
        self.batches.append(rows)
        self.rows += rows.num_rows
        self.size_bytes += size_bytes
        self.sources[source] = None

    def has_room(self, parquet: Parquet, *, rows: int, size_bytes: int) -> bool:
        """Whether so much more still fits into the limits of a row group."""
        return self.rows + rows <= parquet.row_group_rows and self.size_bytes + size_bytes <= parquet.row_group_bytes


@dataclass(slots=True, eq=False)
class _Partition:
    """One table partition and one schema: the rows being collected, what waits for a thread, the files that take it."""

    value: str | None
    hive_path: str
    schema: pa.Schema
    collected: _RowGroup = field(default_factory=_RowGroup)
    waiting: deque[_RowGroup] = field(default_factory=deque)
    files: "list[_OpenFile]" = field(default_factory=list)
    is_complete: bool = False


@dataclass(slots=True, eq=False)
class _OpenFile:
    """A file of a partition; ``is_busy`` while a thread is at it, ``is_closing`` once it takes no more."""

    file: RowGroupFile
    partition: _Partition
    size_bytes: int = 0
    is_busy: bool = False
    is_closing: bool = False


class Stager:
    """One micro-batch's files: a `RowSink`. Rows are appended by one thread; any thread may close.

    Args:
        pool: encodes row groups; several stagers may share it.
        commit_id: names the files, so that they can be traced to their ledger row.
    """

    def __init__(
        self,
        lake: LakeConfig,
        parquet: Parquet,
        *,
        pool: Executor,
        commit_id: str,
        lane: int,
        clock: Callable[[], datetime] = now,
    ) -> None:
        self._store = store_of(lake)
        self._folder = table_folder(self._store, lake.schema_name, lake.table)
        self._lane = lane
        self._parquet = parquet
        self._pool = pool
        self._commit_id = commit_id
        self._clock = clock
        self._changed = threading.Condition()
        self._partitions: dict[str | None, _Partition] = {}
        self._staged: list[StagedFile] = []
        self._files_named = 0
        self._busy_files = 0
        self._buffered_bytes = 0
        self._failure: Exception | None = None

    @property
    def buffered_bytes(self) -> int:
        """Bytes of rows that are not yet encoded: those being collected and those waiting for a thread."""
        return self._buffered_bytes

    @property
    def is_draining(self) -> bool:
        """Whether there is something to encode."""
        return self._buffered_bytes > 0

    def append(self, piece: PartitionSlice, source: tuple[int, int]) -> None:
        """Take rows of the message ``source`` (partition, offset); returns at once, whatever is buffered.

        Raises:
            StageFailed, CatalogUnavailable: an earlier row group could not be written.
        """
        with self._changed:
            self._raise_failure()
            partition = self._partition(piece)
            for rows, size_bytes in _cut(piece.rows, self._parquet):
                if not partition.collected.has_room(self._parquet, rows=rows.num_rows, size_bytes=size_bytes):
                    self._submit(partition)
                partition.collected.add(rows, size_bytes, source)
                self._buffered_bytes += size_bytes
                if not partition.collected.has_room(self._parquet, rows=1, size_bytes=1):
                    self._submit(partition)

    def wait_for_progress(self, timeout_seconds: float) -> None:
        """Return once fewer bytes are buffered, or after the timeout.

        When nothing is being encoded, the largest row group that is being collected is written as it is.
        """
        with self._changed:
            before = self._buffered_bytes
            if not self._busy_files and self._partitions:
                self._submit(max(self._partitions.values(), key=lambda partition: partition.collected.size_bytes))
            self._changed.wait_for(lambda: self._buffered_bytes < before or self._failure is not None, timeout_seconds)

    def close(self) -> tuple[StagedFile, ...]:
        """Write what is collected and return, by path, once every file is on disk.

        Raises:
            StageFailed: rows could not be encoded; names the messages that were in the row group.
            CatalogUnavailable, ConfigError: the data path cannot be written.
        """
        with self._changed:
            for partition in self._partitions.values():
                self._submit(partition, is_last=True)
            self._changed.wait_for(lambda: not self._busy_files)
            self._raise_failure()
            return tuple(sorted(self._staged, key=lambda staged: staged.path))

    def finish(self) -> StagedRows:
        """The files of `close`, ready for the transaction; raises as that does."""
        return StagedRows(self.close())

    def abandon(self) -> None:
        """Drop all rows and give the handles back; files on disk are left to orphan removal. No-op when closed."""
        with self._changed:
            self._failure = self._failure or StageFailed("abandoned")
            for partition in self._partitions.values():
                self._drop(partition)
            self._changed.wait_for(lambda: not self._busy_files)

    # All methods below but `_run`, `_encode` and `_finish` are called with the condition held.

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _partition(self, piece: PartitionSlice) -> _Partition:
        """Where the slice is collected; a schema that changed within the micro-batch begins new files."""
        partition = self._partitions.get(piece.value)
        if partition is not None and partition.schema != piece.rows.schema:
            self._submit(partition, is_last=True)
            partition = None
        if partition is None:
            partition = _Partition(piece.value, piece.hive_path, piece.rows.schema)
            self._partitions[piece.value] = partition
        return partition

    def _submit(self, partition: _Partition, *, is_last: bool = False) -> None:
        """Have the collected rows written as a row group. After the last rows a partition's files are finished."""
        if partition.collected.rows:
            partition.waiting.append(partition.collected)
            partition.collected = _RowGroup()
        partition.is_complete = partition.is_complete or is_last
        self._schedule(partition)

    def _drop(self, partition: _Partition) -> None:
        """Let go of rows and idle files here, since the pool may be gone; busy files end by themselves."""
        self._buffered_bytes -= sum(group.size_bytes for group in (partition.collected, *partition.waiting))
        partition.collected = _RowGroup()
        partition.waiting.clear()
        partition.is_complete = True
        for open_file in [open_file for open_file in partition.files if not open_file.is_busy]:
            partition.files.remove(open_file)
            open_file.file.abandon()

    def _schedule(self, partition: _Partition) -> None:
        """Set idle files to work; where rows wait and a thread is free, open a second file rather than wait."""
        if partition.waiting or partition.is_complete:
            for open_file in partition.files:
                if not open_file.is_busy:
                    self._start(open_file)
        is_thread_free = self._busy_files < self._parquet.threads
        if partition.waiting and (
            not partition.files or (len(partition.files) < _FILES_PER_PARTITION and is_thread_free)
        ):
            self._start(self._open(partition))

    def _open(self, partition: _Partition) -> _OpenFile:
        """Begin a file; over the cap the largest one takes no more."""
        taking = [open_file for other in self._partitions.values() for open_file in other.files]
        if len(taking) >= self._parquet.max_open_files:
            self._retire(max(taking, key=lambda open_file: open_file.size_bytes))
        name = file_name(self._lane, self._commit_id, self._files_named)
        path = "/".join(part for part in (self._folder, partition.hive_path, name) if part)
        self._files_named += 1
        open_file = _OpenFile(RowGroupFile(self._store, path, partition.value, self._parquet, self._clock), partition)
        partition.files.append(open_file)
        return open_file

    def _retire(self, open_file: _OpenFile) -> None:
        """Take a file out of its partition, to be finished."""
        open_file.partition.files.remove(open_file)
        open_file.is_closing = True
        if not open_file.is_busy:
            self._start(open_file)

    def _start(self, open_file: _OpenFile) -> None:
        self._pool.submit(self._run, open_file)
        open_file.is_busy = True
        self._busy_files += 1

    def _rest(self, open_file: _OpenFile) -> None:
        open_file.is_busy = False
        self._busy_files -= 1
        self._schedule(open_file.partition)
        self._changed.notify_all()

    def _next_group(self, open_file: _OpenFile) -> _RowGroup | None:
        partition = open_file.partition
        if open_file.is_closing:
            return None
        if partition.waiting:
            return partition.waiting.popleft()
        if partition.is_complete:
            self._retire(open_file)
        return None

    def _run(self, open_file: _OpenFile) -> None:
        """On the pool: write what waits for a file, then finish it or let it rest."""
        while True:
            with self._changed:
                group = self._next_group(open_file)
                if group is None and not open_file.is_closing:
                    self._rest(open_file)
                    return
            if group is None:
                break
            self._encode(open_file, group)
        self._finish(open_file)
        with self._changed:
            self._rest(open_file)

    def _encode(self, open_file: _OpenFile, group: _RowGroup) -> None:
        """Write one row group and let go of its rows, whatever comes of it."""
        try:
            if self._failure is None:
                rows = pa.Table.from_batches(group.batches)
                names = names_in_file(rows.schema.names, open_file.partition.hive_path)
                open_file.file.write(rows.rename_columns(names))
        except Exception as error:  # noqa: BLE001  whatever it is, `close` raises it
            self._fail(error, group.sources)
        group.batches.clear()
        with self._changed:
            self._buffered_bytes -= group.size_bytes
            open_file.size_bytes = open_file.file.size_bytes
            if open_file.size_bytes >= self._parquet.target_file_bytes and not open_file.is_closing:
                self._retire(open_file)
            self._changed.notify_all()

    def _finish(self, open_file: _OpenFile) -> None:
        try:
            if self._failure is not None:
                open_file.file.abandon()
            elif (staged := open_file.file.close()) is not None:
                with self._changed:
                    self._staged.append(staged)
        except Exception as error:  # noqa: BLE001  whatever it is, `close` raises it
            self._fail(error, ())

    def _fail(self, error: Exception, culprits: Iterable[tuple[int, int]]) -> None:
        """Keep the first failure. A disk that is full or gone is no message's fault."""
        if isinstance(error, OSError):
            failure: Exception = write_failure(self._store, self._folder, error)
        else:
            # Short of memory, any row group fails: its messages are not to blame.
            failure = StageFailed(str(error), () if isinstance(error, MemoryError) else culprits)
        failure.__cause__ = error
        with self._changed:
            self._failure = self._failure or failure


def write_failure(store: Store, place: str, error: OSError) -> ArrowIngestError:
    """The error to raise when a file cannot be written."""
    doing = f"cannot write below {place}"
    return store.outage(error, doing) or CatalogUnavailable(f"{doing}: {error}")


def table_folder(store: Store, schema: str, table: str) -> str:
    """The folder of a table's files; hive folders come next."""
    return f"{store.root}{schema}/{table}"


def file_name(lane: int, commit_id: str, number: int) -> str:
    """The name of a commit's file. The lane stands here, for orphan removal, and not in a folder of its own.

    DuckLake 1.5.5 merges the files of a table partition only if all of their folders are the same; otherwise it stops
    with an internal error, which ends the session.
    """
    return f"lane-{lane}-{commit_id}-{number}.parquet"


def names_in_file(names: Iterable[str], hive_path: str) -> list[str]:
    """How a file spells its columns: as the table does, save those that are called like a folder of a transform.

    DuckDB takes a column ``year`` below a folder ``year=2026`` for the folder's value, and DuckLake refuses the file.
    Names match whatever their case, but folders only as they are spelled (DuckDB 1.5.5).

    >>> names_in_file(["Year", "n"], "year=2026/month=11"), names_in_file(["year"], "year=2026")
    (['YEAR', 'n'], ['year'])
    """
    folders = [folder.partition("=")[0] for folder in hive_path.split("/")]
    is_of_time = folders[:2] == ["year", "month"]  # a table partitioned by a column's values has one folder
    return [name.upper() if is_of_time and fold(name) in folders else name for name in names]


def _cut(rows: pa.RecordBatch, parquet: Parquet) -> Iterator[tuple[pa.RecordBatch, int]]:
    """The rows in views that each fit into one row group, judged by their average size; with their bytes."""
    size_bytes = rows.nbytes
    parts = max(ceil(rows.num_rows / parquet.row_group_rows), ceil(size_bytes / parquet.row_group_bytes))
    if parts <= 1:
        yield rows, size_bytes
        return
    step = ceil(rows.num_rows / parts)
    for start in range(0, rows.num_rows, step):
        view = rows.slice(start, step)
        yield view, view.nbytes
