"""One message's rows in, slices that each lie in one table partition out.

The table partition of a row is the UTC day of its event time; the days of the years 1 to 9999 have a name. Rows without
a time, or outside of those years (where DuckDB's `year()` and hive folders no longer agree), belong to the NULL
partition.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

import pyarrow as pa
import pyarrow.compute as pc

from arrow_ingest.config import Limits, PartitionBy
from arrow_ingest.lake.sqltypes import fold
from arrow_ingest.values import Copies, CopyCause, Reason, Rejection

NULL_FOLDER = "__HIVE_DEFAULT_PARTITION__"

_MICROS_PER_DAY = 86_400_000_000
_EPOCH = date(1970, 1, 1).toordinal()
_FIRST_DAY, _LAST_DAY = date.min.toordinal() - _EPOCH, date.max.toordinal() - _EPOCH
_NO_DAY = -(2**31)

_MAX_VIEWS = 64
"""Views that one batch may be cut into although days come back; over it, gathering costs less than handling them."""


@dataclass(frozen=True, slots=True)
class PartitionSlice:
    """Rows of one table partition.

    Args:
        value: the partition's key as Dagster writes it, ``2026-11-04``; None for the NULL partition and for tables
            without partitions.
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
    once, by day, and its bytes are counted.
    """
    if partition_by is None:
        return Parted(tuple(PartitionSlice(None, "", batch) for batch in batches if batch.num_rows), Copies())
    by_day = [_by_day(batch.column(_index(batch.schema, partition_by.column))) for batch in batches if batch.num_rows]
    if (days := len({day for runs in by_day for day, _, _ in runs.days})) > limits.max_table_partitions:
        return Rejection(Reason.TOO_MANY_PARTITIONS, f"rows of {days} days, over limits.max_table_partitions")
    slices: list[PartitionSlice] = []
    gathered_bytes = 0
    for batch, runs in zip((batch for batch in batches if batch.num_rows), by_day, strict=True):
        rows = batch if runs.order is None else batch.take(runs.order)
        gathered_bytes += 0 if runs.order is None else rows.nbytes
        slices += [PartitionSlice(*_names(day), rows[start:stop]) for day, start, stop in runs.days]
    return Parted(tuple(slices), Copies({CopyCause.SPLIT_BY_PARTITION: gathered_bytes} if gathered_bytes else {}))


@dataclass(frozen=True, slots=True)
class _Runs:
    """Where each day's rows stand.

    Args:
        days: ``(day, start, stop)`` of rows of one day, which is counted since 1970; `_NO_DAY` for the NULL partition.
        order: the row numbers that bring the batch into that order; None when it is in it.
    """

    days: tuple[tuple[int, int, int], ...]
    order: pa.Array | None = None


def _by_day(instants: pa.TimestampArray) -> _Runs:
    if (day := _only_day(instants)) is not None:
        return _Runs(((day, 0, len(instants)),))
    days = instants.view(pa.timestamp("us")).cast(pa.date32()).view(pa.int32())
    is_named = pc.and_(pc.greater_equal(days, _FIRST_DAY), pc.less_equal(days, _LAST_DAY))
    days = pc.if_else(pc.fill_null(is_named, fill_value=False), days, pa.scalar(_NO_DAY, pa.int32()))
    runs = _runs(days)
    if len(runs) <= _MAX_VIEWS or len({day for day, _, _ in runs}) == len(runs):
        return _Runs(runs)
    order = pc.array_sort_indices(days)  # stable: rows of one day keep their order
    return _Runs(_runs(days.take(order)), order)


def _only_day(instants: pa.TimestampArray) -> int | None:
    """The day that all rows share, found from the smallest and the largest alone; None when it takes more."""
    if instants.null_count:
        return None
    extremes = pc.min_max(instants.view(pa.int64()))
    first, last = (extremes[key].as_py() // _MICROS_PER_DAY for key in ("min", "max"))
    return first if first == last and _FIRST_DAY <= first <= _LAST_DAY else None


def _runs(days: pa.Int32Array) -> tuple[tuple[int, int, int], ...]:
    encoded = pc.run_end_encode(days)
    stops = encoded.run_ends.to_pylist()
    return tuple(zip(encoded.values.to_pylist(), [0, *stops], stops, strict=False))


@lru_cache(maxsize=4096)
def _names(day: int) -> tuple[str | None, str]:
    """A partition's key and its folder.

    >>> _names(20761)
    ('2026-11-04', 'year=2026/month=11/day=4')
    """
    if day == _NO_DAY:
        return None, f"year={NULL_FOLDER}/month={NULL_FOLDER}/day={NULL_FOLDER}"
    utc = date.fromordinal(day + _EPOCH)
    return utc.isoformat(), f"year={utc.year}/month={utc.month}/day={utc.day}"


def _index(schema: pa.Schema, name: str) -> int:
    """Where a column stands whose name may be spelled in other case."""
    return [fold(found) for found in schema.names].index(fold(name))
