"""The seam between those who collect a micro-batch's rows and the transaction that makes them part of the table.

``writer: staged`` collects them into Parquet files of its own (`staging`), ``writer: insert`` holds them in memory for
DuckDB (`holding`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from arrow_ingest.config import LakeConfig
from arrow_ingest.errors import StageFailed, StatementRefused
from arrow_ingest.lake.partition import PartitionSlice
from arrow_ingest.lake.session import Lake
from arrow_ingest.lake.sql import LAKE
from arrow_ingest.values import StagedFile, TouchedPartition, touched_partitions


class NewRows(Protocol):
    """All rows of a micro-batch, ready for its transaction."""

    @property
    def staged_at(self) -> datetime | None:
        """When the oldest file that orphan removal could take was begun; None: there is none."""
        ...

    def add_to(self, lake: Lake, table: LakeConfig) -> tuple[TouchedPartition, ...]:
        """Add the rows in the open transaction, as often as it is tried; what that adds to which table partition.

        Raises:
            StageFailed: DuckDB refuses rows or a file.
            CommitConflict, CatalogUnavailable: the transaction is lost.
        """
        ...


class RowSink(Protocol):
    """Collects one micro-batch's rows. One thread appends; any thread may finish."""

    @property
    def buffered_bytes(self) -> int:
        """Bytes of rows in memory."""
        ...

    @property
    def is_draining(self) -> bool:
        """Whether they get fewer by themselves; otherwise only a commit frees them."""
        ...

    def append(self, piece: PartitionSlice, source: tuple[int, int]) -> None:
        """Take rows of the message ``source`` (partition, offset); returns at once, whatever is buffered.

        Raises:
            StageFailed, CatalogUnavailable: earlier rows could not be written.
        """
        ...

    def wait_for_progress(self, timeout_seconds: float) -> None:
        """Return once fewer bytes are buffered, after the timeout, or when they will not get fewer."""
        ...

    def finish(self) -> NewRows:
        """All that was appended, ready for the transaction.

        Raises:
            StageFailed, CatalogUnavailable: rows could not be written.
        """
        ...

    def abandon(self) -> None:
        """Let go of all rows in memory: they are committed, or not wanted any more."""
        ...


@dataclass(frozen=True, slots=True)
class StagedRows:
    """Rows in files that we wrote: no rollback deletes them, whatever becomes of the answer to COMMIT (FACTS)."""

    files: tuple[StagedFile, ...]

    @property
    def staged_at(self) -> datetime | None:
        """When the oldest file was begun."""
        return min((file.staged_at for file in self.files), default=None)

    def add_to(self, lake: Lake, table: LakeConfig) -> tuple[TouchedPartition, ...]:
        """Add the files; raises as `NewRows.add_to`."""
        add_files(lake, table.schema_name, table.table, self.files)
        return touched_partitions(self.files)


def add_files(lake: Lake, schema: str, table: str, files: Sequence[StagedFile]) -> None:
    """Add staged files; columns of types that are never staged may be missing in them, and read as NULL.

    Raises:
        StageFailed: a file does not fit the table.
        CommitConflict, CatalogUnavailable: the transaction is lost.
    """
    if not files:
        return
    try:
        lake.execute(
            f"CALL ducklake_add_data_files('{LAKE}', ?, ?, schema => ?, allow_missing => true)",
            [table, [file.path for file in files], schema],
        )
    except StatementRefused as refusal:
        raise StageFailed(f"the catalog refuses a staged file: {refusal}") from refusal
