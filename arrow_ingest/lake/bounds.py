"""Arrow columns in, the same columns out if DuckDB can hold their temporal values.

Arrow's 64 bits reach further than DuckDB's calendar, and Arrow's full validation does not mind. One such value in one
row makes `ducklake_add_data_files` refuse the whole file (it reads the statistics), or every later query of the table
fail: it has to be refused with its message.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from types import MappingProxyType

import pyarrow as pa
import pyarrow.compute as pc

from arrow_ingest.lake.sqltypes import TIMESTAMPTZ

_MIN_SECONDS = -9_223_372_022_400  # 290309-12-22 (BC)
_MAX_MICROS = 2**63 - 1

_BOUNDS: Mapping[pa.DataType, tuple[int, int]] = MappingProxyType(
    {
        pa.timestamp("s"): (_MIN_SECONDS, _MAX_MICROS // 1_000_000),
        pa.timestamp("ms"): (_MIN_SECONDS * 1_000, _MAX_MICROS // 1_000),
        pa.timestamp("us"): (_MIN_SECONDS * 1_000_000, _MAX_MICROS),
        TIMESTAMPTZ: (_MIN_SECONDS * 1_000_000, _MAX_MICROS),
        pa.timestamp("ns"): (-9_223_286_400_000_000_000, 2**63 - 1),  # 1677-09-22
        pa.date32(): (-(2**31) + 2, 2**31 - 1),  # 5877642-06-25 (BC)
    }
)
"""Smallest and largest value that DuckDB 1.5 takes and shows, as whole numbers; the largest may mean infinity."""


def bounded(column: pa.Array) -> pa.Array:
    """``column`` itself.

    Raises:
        pa.ArrowInvalid: a date or timestamp, at any depth, is one that DuckDB cannot hold.

    >>> bounded(pa.array([[1, 2]], pa.list_(pa.timestamp("us")))).type
    ListType(list<item: timestamp[us]>)
    >>> bounded(pa.array([-(2**63)], pa.timestamp("us")))
    Traceback (most recent call last):
    pyarrow.lib.ArrowInvalid: timestamp[us] outside DuckDB's range
    """
    for leaf in _temporal_leaves(column):
        low, high = _BOUNDS[leaf.type]
        extremes = pc.min_max(leaf.view(pa.int32() if leaf.type == pa.date32() else pa.int64()))
        smallest, largest = extremes["min"].as_py(), extremes["max"].as_py()
        if smallest is not None and not low <= smallest <= largest <= high:
            raise pa.ArrowInvalid(f"{leaf.type} outside DuckDB's range")
    return column


def _temporal_leaves(column: pa.Array) -> Iterator[pa.Array]:
    """The dates and timestamps of a column, without those that lie under a null parent."""
    if column.type in _BOUNDS:
        yield column
    elif not is_bounded(column.type):
        return
    elif isinstance(column, pa.MapArray):
        yield from _temporal_leaves(column.cast(pa.list_(pa.struct([column.type.key_field, column.type.item_field]))))
    elif isinstance(column, pa.ListArray):
        yield from _temporal_leaves(column.flatten())
    else:
        for child in column.flatten():
            yield from _temporal_leaves(child)


@lru_cache(maxsize=4096)
def is_bounded(kind: pa.DataType) -> bool:
    """Whether a storable type is or holds a date or a timestamp, so that `bounded` may refuse values of it."""
    return kind in _BOUNDS or any(is_bounded(kind.field(i).type) for i in range(kind.num_fields))
