"""Slices of table partitions in, rows that DuckDB inserts itself out: the writer for lakes that DuckDB has to write.

The rows stay where they were received until the commit, and DuckDB scans them there. Its files are part of the
transaction, so a rollback deletes them: where the answer to a COMMIT that landed can be lost, the snapshot then refers
to files that are gone (FACTS), and `config` asks before it allows that.
"""

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from arrow_ingest.config import LakeConfig
from arrow_ingest.errors import CatalogUnavailable, StageFailed, StatementRefused
from arrow_ingest.lake.partition import PartitionSlice
from arrow_ingest.lake.session import Lake
from arrow_ingest.lake.sql import in_lake
from arrow_ingest.lake.sqltypes import fold
from arrow_ingest.lake.staging import write_failure
from arrow_ingest.lake.store import Store
from arrow_ingest.values import TouchedPartition

_WRITTEN = """
SELECT filename, count(*),
       min({{'part': _kafka_partition, 'position': _kafka_offset, 'row': _kafka_row}})
FROM {table} WHERE snapshot_id IS NULL AND _kafka_offset BETWEEN ? AND ?
GROUP BY filename
"""
"""The files of this transaction, whose rows have no snapshot yet, each with one of its rows. DuckLake lists a file only
once it is committed.
"""

_HIDING = frozenset({"filename", "snapshot_id"})
"""A table's own columns of these names hide DuckLake's: then nobody can say which files were written."""


@dataclass(frozen=True, slots=True)
class HeldSlice:
    """Rows of one table partition, and the message ``source`` (partition, offset) that they are of."""

    piece: PartitionSlice
    source: tuple[int, int]


@dataclass(frozen=True, slots=True)
class _WrittenFile:
    """A file that this transaction wrote; ``value`` is the key of the table partition of one of its rows.

    It is that of all of them, but for years outside of 1 to 9999: DuckLake takes 44 BC for 44.
    """

    path: str
    size_bytes: int
    value: str | None
    rows: int


@dataclass(frozen=True, slots=True)
class HeldRows:
    """Rows that the transaction inserts; they alias received buffers."""

    slices: tuple[HeldSlice, ...]

    @property
    def staged_at(self) -> None:
        """No file is there before the transaction."""
        return

    def add_to(self, lake: Lake, table: LakeConfig) -> tuple[TouchedPartition, ...]:
        """Insert the rows, and return once DuckDB's files are on disk, which it does not wait for (FACTS).

        Files and bytes are given as 0 for a table that has a column of its own called filename or snapshot_id.

        Raises:
            StageFailed: DuckDB refuses the rows.
            CommitConflict, CatalogUnavailable: the transaction is lost.
        """
        if not self.slices:
            return ()
        name = in_lake(table.schema_name, table.table)
        try:
            for rows in _tables(held.piece.rows for held in self.slices):
                lake.insert(name, rows)
        except StatementRefused as refusal:
            raise StageFailed(f"DuckDB refuses rows: {refusal}", {held.source for held in self.slices}) from refusal
        if _HIDING & {fold(column) for held in self.slices for column in held.piece.rows.schema.names}:
            _settle(lake.store, None)
            return self._touched([])
        files = self._written(lake, name)
        if (written := sum(file.rows for file in files)) != (rows := sum(self._rows_by_value().values())):
            raise StageFailed(f"DuckDB wrote {written} of {rows} rows")
        _settle(lake.store, [file.path for file in files])
        return self._touched(files)

    def _written(self, lake: Lake, name: str) -> list[_WrittenFile]:
        """The files that hold the rows."""
        by_source: dict[tuple[int, int], list[PartitionSlice]] = {}
        for held in self.slices:
            by_source.setdefault(held.source, []).append(held.piece)
        offsets = [offset for _, offset in by_source]
        written = lake.execute(_WRITTEN.format(table=name), [min(offsets), max(offsets)])
        sizes = lake.store.sizes(path for path, _, _ in written)
        return [
            _WrittenFile(
                path, _known(sizes[path]), _value_of(by_source[one["part"], one["position"]], one["row"]), rows
            )
            for path, rows, one in written
        ]

    def _rows_by_value(self) -> dict[str | None, int]:
        rows: dict[str | None, int] = {}
        for held in self.slices:
            rows[held.piece.value] = rows.get(held.piece.value, 0) + held.piece.rows.num_rows
        return rows

    def _touched(self, files: Sequence[_WrittenFile]) -> tuple[TouchedPartition, ...]:
        """Ascending by key, the NULL partition last."""
        sizes: dict[str | None, list[int]] = {}
        for file in files:
            sizes.setdefault(file.value, []).append(file.size_bytes)
        return tuple(
            TouchedPartition(value, rows, len(sizes.get(value, [])), sum(sizes.get(value, [])))
            for value, rows in sorted(self._rows_by_value().items(), key=lambda item: (item[0] is None, item[0] or ""))
        )


class Holder:
    """Holds one micro-batch's rows until they are committed: a `RowSink` that writes nothing."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._slices: list[HeldSlice] = []
        self._buffered_bytes = 0
        self._is_finished = False

    @property
    def buffered_bytes(self) -> int:
        """Bytes of the rows, until `abandon`."""
        return self._buffered_bytes

    @property
    def is_draining(self) -> bool:
        """Once they are to be committed, and until they are."""
        return self._is_finished and self._buffered_bytes > 0

    def append(self, piece: PartitionSlice, source: tuple[int, int]) -> None:
        """Take rows of a message."""
        with self._changed:
            self._slices.append(HeldSlice(piece, source))
            self._buffered_bytes += piece.rows.nbytes

    def wait_for_progress(self, timeout_seconds: float) -> None:
        """Wait for the commit, if one is under way."""
        with self._changed:
            self._changed.wait_for(lambda: not self.is_draining, timeout_seconds)

    def finish(self) -> HeldRows:
        """The rows; nothing is appended any more."""
        with self._changed:
            self._is_finished = True
            return HeldRows(tuple(self._slices))

    def abandon(self) -> None:
        """Let go of the rows."""
        with self._changed:
            self._slices.clear()
            self._buffered_bytes = 0
            self._changed.notify_all()


def _tables(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """The batches as few tables: a schema that changed within the micro-batch begins another one."""
    by_schema: dict[pa.Schema, list[pa.RecordBatch]] = {}
    for batch in batches:
        by_schema.setdefault(batch.schema, []).append(batch)
    return (pa.Table.from_batches(same, schema) for schema, same in by_schema.items())


def _value_of(pieces: Iterable[PartitionSlice], row: int) -> str | None:
    """The key of the table partition that a message's row is in."""
    return next(piece.value for piece in pieces if row in piece.rows.column("_kafka_row").to_pylist())


def _known(size: int | OSError) -> int:
    if isinstance(size, OSError):
        raise CatalogUnavailable(f"a file that DuckDB wrote cannot be found: {size}") from size
    return size


def _settle(store: Store, files: Sequence[str] | None) -> None:
    try:
        store.settle_foreign(files)
    except OSError as error:
        raise write_failure(store, store.root, error) from error
