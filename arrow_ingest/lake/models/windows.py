"""A table partition's key in; when it begins and ends, and the keys around it, out. Pure."""

from datetime import datetime

from arrow_ingest.lake.time_partitions import TimeUnit, key_of_time, next_start, start_of_key
from arrow_ingest.model_settings import Reads


def bounds(key: str, unit: TimeUnit) -> tuple[datetime, datetime]:
    """From when (inclusive) to when (exclusive) a table partition goes, in UTC.

    >>> [at.isoformat() for at in bounds("2026-11-30", "day")]
    ['2026-11-30T00:00:00+00:00', '2026-12-01T00:00:00+00:00']
    """
    start = start_of_key(key, unit)
    return start, next_start(start, unit)


def read_keys(key: str, unit: TimeUnit, reads: Reads) -> tuple[str, ...]:
    """The partitions of the pipeline's table that one of the model's is computed from, ascending.

    >>> read_keys("2026-12-01", "day", Reads(before=1, after=1))
    ('2026-11-30', '2026-12-01', '2026-12-02')
    >>> read_keys("2026-01-01", "month", Reads(before=1))
    ('2025-12-01', '2026-01-01')
    """
    start = start_of_key(key, unit)
    found = [start]
    for _ in range(reads.before):
        found.insert(0, _before(found[0], unit))
    for _ in range(reads.after):
        found.append(next_start(found[-1], unit))
    return tuple(key_of_time(at, unit) for at in found)


def _before(start: datetime, unit: TimeUnit) -> datetime:
    """Where the partition before begins: the one that a moment earlier lies in."""
    earlier = start - datetime.resolution
    return start_of_key(key_of_time(earlier, unit), unit)
