"""Sizes of small files in, the range of sizes out in which merging saves most files. Pure.

DuckLake merges adjacent files of one table partition, and cannot be told which partition: it takes a range of file
sizes, and whatever lies in it. So ranges are chosen that hold at most one file of each partition that is to be left
alone: one file is never merged. The newest day has few files when the day begins, and then the ranges are wide.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

TimeUnit = Literal["hour", "day", "month"]


@dataclass(frozen=True, slots=True)
class SmallFile:
    """A file that may be merged.

    Args:
        group: files are merged only with others of their group: table partition and shape of the table.
        is_left_alone: its table partition is too new to be touched.
    """

    file_id: int
    group: str
    size_bytes: int
    is_left_alone: bool = False


@dataclass(frozen=True, slots=True)
class Window:
    """A range ``[min_bytes, stop_bytes)`` of file sizes, and what merging within it would do.

    Args:
        files: that would be read, ``size_bytes`` in all; ``outputs`` that would be written.
        largest_bytes: read for the largest of the outputs.
    """

    min_bytes: int
    stop_bytes: int
    files: int
    outputs: int
    size_bytes: int
    largest_bytes: int

    @property
    def saved(self) -> int:
        """How many files there are fewer afterwards."""
        return self.files - self.outputs


def best_window(files: Sequence[SmallFile], *, target_bytes: int, stop_bytes: int) -> Window | None:
    """The range in which merging saves most files; None: none saves any.

    Args:
        files: in the order in which DuckLake takes them.
        target_bytes: the size of file that is merged towards.
        stop_bytes: larger files are not merged.

    >>> old = [SmallFile(i, "day=3", 10 + i) for i in range(6)]
    >>> best_window(old, target_bytes=100, stop_bytes=50)
    Window(min_bytes=0, stop_bytes=50, files=6, outputs=1, size_bytes=75, largest_bytes=75)
    >>> today = [SmallFile(10 + i, "day=4", size, is_left_alone=True) for i, size in enumerate((1, 13, 60))]
    >>> best_window(old + today, target_bytes=100, stop_bytes=50)
    Window(min_bytes=0, stop_bytes=13, files=3, outputs=1, size_bytes=33, largest_bytes=33)
    """
    found = windows(files, target_bytes=target_bytes, stop_bytes=stop_bytes)
    best = max(found, key=lambda window: window.saved, default=None)
    return best if best is not None and best.saved > 0 else None


def windows(files: Sequence[SmallFile], *, target_bytes: int, stop_bytes: int) -> Iterator[Window]:
    """All ranges in which files may be merged, with what that would do."""
    bounds = list(_bounds([file for file in files if file.is_left_alone], stop_bytes))
    starts = [start for start, _ in bounds]
    held: list[dict[str, list[int]]] = [{} for _ in bounds]
    for file in files:
        if file.is_left_alone:
            continue
        number = bisect_left(starts, file.size_bytes + 1) - 1
        if number >= 0 and file.size_bytes < bounds[number][1]:
            held[number].setdefault(file.group, []).append(file.size_bytes)
    for (start, stop), groups in zip(bounds, held, strict=True):
        merges = [merge for sizes in groups.values() for merge in merges_of(sizes, target_bytes) if len(merge) > 1]
        yield Window(
            start,
            stop,
            files=sum(map(len, merges)),
            outputs=len(merges),
            size_bytes=sum(map(sum, merges)),
            largest_bytes=max(map(sum, merges), default=0),
        )


def merges_of(sizes: Sequence[int], target_bytes: int) -> Iterator[Sequence[int]]:
    """The files of one group, cut as DuckLake does: each output as near to the target as whole files allow.

    >>> list(merges_of([40, 40, 40, 70, 5], target_bytes=100))
    [[40, 40], [40, 70], [5]]
    """
    start, total = 0, 0
    for index, size in enumerate(sizes):
        if index > start and abs(total + size - target_bytes) >= abs(total - target_bytes):
            yield sizes[start:index]
            start, total = index, 0
        total += size
    if start < len(sizes):
        yield sizes[start:]


def is_left_alone(folder: str, unit: TimeUnit, now: datetime, leave_newest: int) -> bool:
    """Whether a table partition, by its folder, is among the newest units of time, or lies in the future.

    >>> from datetime import UTC
    >>> now = datetime(2026, 11, 4, 2, tzinfo=UTC)
    >>> [is_left_alone(f"year=2026/month=11/day={day}", "day", now, 1) for day in (3, 4, 5)]
    [False, True, True]
    >>> is_left_alone("year=2026/month=11/day=4", "day", now, 0), is_left_alone("year=2026/month=10", "month", now, 2)
    (False, True)
    """
    start = partition_start(folder)
    return start is not None and _is_newest(start, unit, now, leave_newest)


def is_newest(start: datetime, unit: TimeUnit, now: datetime, count: int) -> bool:
    """Whether a unit of time that begins at ``start`` is among the newest ``count``, or lies in the future.

    >>> from datetime import UTC
    >>> now = datetime(2026, 11, 4, 2, tzinfo=UTC)
    >>> [is_newest(datetime(2026, 11, day, tzinfo=UTC), "day", now, 2) for day in (2, 3, 4)]
    [False, True, True]
    """
    return _is_newest((start.year, start.month, start.day, start.hour), unit, now, count)


def partition_start(folder: str) -> tuple[int, ...] | None:
    """Year, month, day and hour of a folder, as far as it names them; None: it names no time.

    >>> partition_start("year=2026/month=11/day=4/hour=9"), partition_start("year=2026/month=11"), partition_start("")
    ((2026, 11, 4, 9), (2026, 11), None)
    """
    named = dict(part.split("=", 1) for part in folder.split("/") if "=" in part)
    values = [named[name] for name in ("year", "month", "day", "hour") if name in named]
    return tuple(map(int, values)) if values and all(value.isdecimal() for value in values) else None


def _is_newest(start: tuple[int, ...], unit: TimeUnit, now: datetime, count: int) -> bool:
    first = _newest_from(unit, now, count)
    return count > 0 and start[: len(first)] >= first


def _newest_from(unit: TimeUnit, now: datetime, leave_newest: int) -> tuple[int, ...]:
    """Where the newest units of time begin."""
    back = max(0, leave_newest - 1)
    match unit:
        case "month":
            months = now.year * 12 + now.month - 1 - back
            return (months // 12, months % 12 + 1)
        case "day":
            day = now - timedelta(days=back)
            return (day.year, day.month, day.day)
        case "hour":
            hour = now - timedelta(hours=back)
            return (hour.year, hour.month, hour.day, hour.hour)


def _bounds(left_alone: Iterable[SmallFile], stop_bytes: int) -> Iterator[tuple[int, int]]:
    """Ranges ``[start, stop)`` that hold at most one file of each group that is left alone.

    >>> a, b = (SmallFile(0, group, 5, is_left_alone=True) for group in "ab")
    >>> list(_bounds([a, b], 9)), list(_bounds([a, a], 9))
    ([(0, 9)], [(0, 5), (6, 9)])
    """
    by_size: dict[int, list[str]] = {}
    for file in left_alone:
        if file.size_bytes < stop_bytes:
            by_size.setdefault(file.size_bytes, []).append(file.group)
    start = 0
    seen: set[str] = set()
    for size, groups in sorted(by_size.items()):
        are_told_apart = len(set(groups)) == len(groups)
        if are_told_apart and not seen.intersection(groups):
            seen.update(groups)
            continue
        if start < size:
            yield start, size
        start, seen = (size, set(groups)) if are_told_apart else (size + 1, set())
    if start < stop_bytes:
        yield start, stop_bytes
