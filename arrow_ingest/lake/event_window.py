"""Slices of table partitions and the time at which their message was written in, late rows or a rejection out.

Pure: the clock has no say. A rebuild or a replay of the same message comes to the same answer.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from functools import lru_cache

from arrow_ingest.config import PipelineConfig
from arrow_ingest.lake.conform import Stamp, instant_of_message
from arrow_ingest.lake.partition import PartitionSlice
from arrow_ingest.lake.time_partitions import TimeUnit, key_of_time, next_start, start_of_key
from arrow_ingest.table_shape import PartitionBy
from arrow_ingest.values import Reason, Rejection


def late_rows(slices: Iterable[PartitionSlice], config: PipelineConfig, stamp: Stamp) -> Mapping[str, int] | Rejection:
    """Rows of a message that come late, by table partition; or why the message is refused for its rows' times."""
    by, policy = config.partition_by, config.event_time
    if by is None or by.unit == "value":
        return {}
    written_at = written_at_of(stamp)
    late: dict[str, int] = {}
    for piece in slices:
        if policy.out_of_range == "dead_letter" and is_out_of_range(piece.value, written_at, by, policy.max_ahead_days):
            said = f"rows of {piece.value or 'no time'}, and the message was written at {written_at:%Y-%m-%d %H:%M} UTC"
            return Rejection(Reason.OUT_OF_RANGE, f"{said}; the table begins at {by.start}")
        if piece.value is not None and is_late(piece.value, by.unit, written_at, policy.late_after_days):
            if policy.late == "dead_letter":
                said = f"rows of {piece.value} in a message that was written at {written_at:%Y-%m-%d %H:%M} UTC"
                return Rejection(Reason.LATE, f"{said}, over event_time.late_after_days")
            late[piece.value] = late.get(piece.value, 0) + piece.rows.num_rows
    return late


def written_at_of(stamp: Stamp) -> datetime:
    """When Kafka says that the message was written; when it was read, if Kafka says nothing of use."""
    timestamp = instant_of_message(stamp.timestamp_ms)
    return timestamp.as_py() if timestamp.is_valid else stamp.inserted_at


def is_out_of_range(key: str | None, written_at: datetime, by: PartitionBy, max_ahead_days: float) -> bool:
    """Whether a table partition lies before the declared ones, or too far ahead; NULL always does.

    >>> from datetime import UTC, date
    >>> by, noon = PartitionBy(column="ts", unit="day", start=date(2026, 1, 1)), datetime(2026, 3, 1, 12, tzinfo=UTC)
    >>> [is_out_of_range(day, noon, by, 1.0) for day in ("2025-12-31", "2026-01-01", "2026-03-02", "2026-03-03", None)]
    [True, False, False, True, True]
    """
    if key is None or by.unit == "value" or by.start is None:
        return True
    first = datetime.combine(by.start, datetime.min.time())
    if key < key_of_time(first, by.unit):
        return True
    return _span(key, by.unit)[0] - written_at > timedelta(days=max_ahead_days)


def is_late(key: str, unit: TimeUnit, written_at: datetime, late_after_days: float) -> bool:
    """Whether a table partition had ended long ago when the message was written.

    >>> from datetime import UTC
    >>> [is_late(day, "day", datetime(2026, 3, 9, tzinfo=UTC), 7) for day in ("2026-02-28", "2026-03-01")]
    [True, False]
    """
    return written_at - _span(key, unit)[1] > timedelta(days=late_after_days)


@lru_cache(maxsize=4096)
def _span(key: str, unit: TimeUnit) -> tuple[datetime, datetime]:
    start = start_of_key(key, unit)
    return start, next_start(start, unit)
