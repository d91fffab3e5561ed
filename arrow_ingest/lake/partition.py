"""One message's rows in, slices that each lie in one table partition out.

`time_partitions` and `value_partitions` say which partition a row belongs to; here rows of one partition are brought
together, without a copy where that is possible.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from arrow_ingest.config import Limits
from arrow_ingest.lake.sqltypes import fold
from arrow_ingest.lake.time_partitions import only_partition, partition_names, partition_numbers
from arrow_ingest.lake.value_partitions import value_partitions
from arrow_ingest.table_shape import PartitionBy
from arrow_ingest.values import Copies, CopyCause, Reason, Rejection

_MAX_VIEWS = 64
"""Views that one batch may be cut into although partitions come back; gathering costs less than handling more."""


@dataclass(frozen=True, slots=True)
class PartitionSlice:
    """Rows of one table partition.

    Args:
        value: the partition's key as Dagster gets it, such as ``2026-11-04``; None for the NULL partition and for
            tables without partitions.
        hive_path: the folder below the table's, such as ``year=2026/month=11/day=4``; empty without partitions.
    """

    value: str | None
    hive_path: str
    rows: pa.RecordBatch


@dataclass(frozen=True, slots=True)
class Parted:
    """All rows of a message, in slices; ``copies`` is empty where the slices are views of the batches."""

    slices: tuple[PartitionSlice, ...]
    copies: Copies


def split(batches: Sequence[pa.RecordBatch], partition_by: PartitionBy | None, limits: Limits) -> Parted | Rejection:
    """Split a message's rows by table partition; batches are conformed.

    Slices are views while few are needed, as when a late session stands among today's; otherwise the batch is gathered
    once, by partition, and its bytes are counted.
    """
    filled = [batch for batch in batches if batch.num_rows]
    if partition_by is None:
        return Parted(tuple(PartitionSlice(None, "", batch) for batch in filled), Copies())
    slices: list[PartitionSlice] = []
    gathered_bytes = 0
    for batch in filled:
        runs = _runs_of(batch, partition_by, limits)
        if isinstance(runs, Rejection):
            return runs
        rows = batch if runs.order is None else batch.take(runs.order)
        gathered_bytes += 0 if runs.order is None else rows.nbytes
        slices += [PartitionSlice(*runs.name(number), rows[start:stop]) for number, start, stop in runs.places]
    if (found := len({piece.hive_path for piece in slices})) > limits.max_table_partitions:
        return _too_many(found)
    return Parted(tuple(slices), Copies({CopyCause.SPLIT_BY_PARTITION: gathered_bytes} if gathered_bytes else {}))


@dataclass(frozen=True, slots=True)
class _Runs:
    """Where each partition's rows stand.

    Args:
        places: ``(partition number, start, stop)`` of rows of one partition.
        name: key and folder of a partition by its number.
        order: the row numbers that bring the batch into that order; None when it is in it.
    """

    places: tuple[tuple[int, int, int], ...]
    name: Callable[[int], tuple[str | None, str]]
    order: pa.Array | None = None


def _runs_of(batch: pa.RecordBatch, by: PartitionBy, limits: Limits) -> _Runs | Rejection:
    index = _index(batch.schema, by.column)
    column, name = batch.column(index), batch.schema.names[index]
    if by.unit == "value":
        found = value_partitions(column, name, most=limits.max_table_partitions)
        return found if isinstance(found, Rejection) else _together(found.numbers, found.name, limits)
    names = partial(partition_names, unit=by.unit)
    if (only := only_partition(column, by.unit)) is not None:
        return _Runs(((only, 0, len(column)),), names)
    return _together(partition_numbers(column, by.unit), names, limits)


def _together(
    numbers: pa.Int32Array, name: Callable[[int], tuple[str | None, str]], limits: Limits
) -> _Runs | Rejection:
    runs = _runs(numbers)
    if (distinct := len({number for number, _, _ in runs})) > limits.max_table_partitions:
        return _too_many(distinct)
    if len(runs) <= _MAX_VIEWS or distinct == len(runs):
        return _Runs(runs, name)
    order = pc.array_sort_indices(numbers)  # stable: rows of one partition keep their order
    return _Runs(_runs(numbers.take(order)), name, order)


def _too_many(found: int) -> Rejection:
    return Rejection(Reason.TOO_MANY_PARTITIONS, f"rows of {found} partitions, over limits.max_table_partitions")


def _runs(numbers: pa.Int32Array) -> tuple[tuple[int, int, int], ...]:
    encoded = pc.run_end_encode(numbers)
    stops = encoded.run_ends.to_pylist()
    return tuple(zip(encoded.values.to_pylist(), [0, *stops], stops, strict=False))


def _index(schema: pa.Schema, name: str) -> int:
    """Where a column stands whose name may be spelled in other case."""
    exact: int = schema.get_field_index(name)
    if exact >= 0:
        return exact
    return [fold(found) for found in schema.names].index(fold(name))
