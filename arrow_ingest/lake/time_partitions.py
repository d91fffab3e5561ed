"""Instants in, the hour, day or month of each, by UTC, and its names out.

Table partitions of time are numbered from 0001-01-01 on. Only the years 1 to 9999 have any: beyond them DuckDB's
`year()` and hive folders no longer agree, so such instants, and NULL, belong to the NULL partition.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from types import MappingProxyType
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

TimeUnit = Literal["hour", "day", "month"]

TRANSFORMS: Mapping[TimeUnit, tuple[str, ...]] = MappingProxyType(
    {"month": ("year", "month"), "day": ("year", "month", "day"), "hour": ("year", "month", "day", "hour")}
)
"""DuckLake's partition transforms; the folders of a file are named by them."""

NULL_FOLDER = "__HIVE_DEFAULT_PARTITION__"
NO_PARTITION = -1
"""The number of the NULL partition."""

_FIRST = datetime(1, 1, 1, tzinfo=UTC)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_FIRST_MICROS = (_FIRST - _EPOCH) // _MICROSECOND
_LAST_MICROS = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
_WIDTH_MICROS = {"hour": 3_600_000_000, "day": 86_400_000_000}
_KEY_FORMATS: Mapping[TimeUnit, str] = MappingProxyType(
    {"month": "%Y-%m-01", "day": "%Y-%m-%d", "hour": "%Y-%m-%d-%H:00"}
)
"""How Dagster writes the keys of its time partitions."""


def only_partition(instants: pa.TimestampArray, unit: TimeUnit) -> int | None:
    """The partition that all instants share, found from the smallest and the largest alone; None when it takes more."""
    if instants.null_count:
        return None
    extremes = pc.min_max(instants.view(pa.int64()))
    first, last = extremes["min"].as_py(), extremes["max"].as_py()
    if not _FIRST_MICROS <= first <= last <= _LAST_MICROS:
        return None
    number = _number(first, unit)
    return number if number == _number(last, unit) else None


def partition_numbers(instants: pa.TimestampArray, unit: TimeUnit) -> pa.Int32Array:
    """The partition of each instant, `NO_PARTITION` where it has none.

    >>> partition_numbers(pa.array([0, None], pa.timestamp("us", "UTC")), "month").to_pylist()
    [23628, -1]
    """
    micros = instants.view(pa.int64())
    is_named = pc.and_(pc.greater_equal(micros, _FIRST_MICROS), pc.less_equal(micros, _LAST_MICROS))
    named = pc.if_else(is_named, micros, pa.scalar(None, pa.int64()))
    if unit == "month":
        times = named.view(pa.timestamp("us"))
        months = pc.multiply(pc.subtract(pc.year(times), 1), 12)
        numbers = pc.add(months, pc.subtract(pc.month(times), 1))
    else:  # counted from the first one on, so that division rounds down
        numbers = pc.divide(pc.subtract(named, _FIRST_MICROS), _WIDTH_MICROS[unit])
    return pc.fill_null(numbers.cast(pa.int32()), NO_PARTITION)


@lru_cache(maxsize=4096)
def partition_names(number: int, unit: TimeUnit) -> tuple[str | None, str]:
    """A partition's key as Dagster writes it, and its folder below the table's.

    >>> partition_names(739_558, "day")
    ('2025-11-04', 'year=2025/month=11/day=4')
    >>> partition_names(NO_PARTITION, "month")
    (None, 'year=__HIVE_DEFAULT_PARTITION__/month=__HIVE_DEFAULT_PARTITION__')
    """
    transforms = TRANSFORMS[unit]
    if number == NO_PARTITION:
        return None, "/".join(f"{transform}={NULL_FOLDER}" for transform in transforms)
    start = _start(number, unit)
    return key_of_time(start, unit), "/".join(f"{transform}={getattr(start, transform)}" for transform in transforms)


def key_of_time(start: datetime, unit: TimeUnit) -> str:
    """The key of the partition that begins at ``start``.

    >>> key_of_time(datetime(2026, 11, 4, 2, tzinfo=UTC), "hour"), key_of_time(_FIRST, "month")
    ('2026-11-04-02:00', '0001-01-01')
    """
    return start.strftime(_KEY_FORMATS[unit].replace("%Y", f"{start.year:04}"))


def start_of_key(key: str, unit: TimeUnit) -> datetime:
    """Where the partition of a key begins, in UTC.

    >>> start_of_key("2026-11-04-02:00", "hour").isoformat()
    '2026-11-04T02:00:00+00:00'
    """
    return datetime.strptime(key, _KEY_FORMATS[unit]).replace(tzinfo=UTC)


def next_start(start: datetime, unit: TimeUnit) -> datetime:
    """Where the next partition begins.

    >>> next_start(datetime(2026, 12, 1, tzinfo=UTC), "month").isoformat()
    '2027-01-01T00:00:00+00:00'
    """
    return _start(_number((start - _EPOCH) // _MICROSECOND, unit) + 1, unit)


def _number(micros: int, unit: TimeUnit) -> int:
    if unit == "month":
        at = _EPOCH + timedelta(microseconds=micros)
        return (at.year - 1) * 12 + at.month - 1
    return (micros - _FIRST_MICROS) // _WIDTH_MICROS[unit]


def _start(number: int, unit: TimeUnit) -> datetime:
    if unit == "month":
        return datetime(number // 12 + 1, number % 12 + 1, 1, tzinfo=UTC)
    return _FIRST + timedelta(microseconds=number * _WIDTH_MICROS[unit])
