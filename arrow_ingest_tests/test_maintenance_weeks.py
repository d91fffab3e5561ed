"""Weeks of a 10,000 rows/s stream under the default maintenance, simulated by the policies that decide for real."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from arrow_ingest.lake.maintenance.expiry import to_expire
from arrow_ingest.lake.maintenance.merge_policy import SmallFile, is_left_alone, merges_of, windows
from arrow_ingest.lake.maintenance.roll_up import is_old
from arrow_ingest.maintenance_settings import Maintenance

FILE_BYTES = 5_400_000
"""100,000 PostHog-shaped rows, zstd: what a micro-batch of 10 s is at 10,000 rows/s (measured with the generator)."""

COMMITS_A_DAY = 8_640
LATE_A_DAY = 20
"""Commits that bring a few rows of an earlier day along, in a small file of their own."""

WEEKS = 4
FIRST = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class Stream:
    """A lake of one lane, as numbers."""

    settings: Maintenance = field(default_factory=Maintenance)
    random: Random = field(default_factory=lambda: Random(7))
    files: dict[str, list[int]] = field(default_factory=dict)
    snapshots: list[tuple[int, datetime]] = field(default_factory=list)
    volumes: list[list[datetime]] = field(default_factory=lambda: [[]])
    sums: int = 0
    dead_versions: int = 0
    commits: int = 0

    def commit(self, at: datetime, *, is_late: bool) -> None:
        size = round(FILE_BYTES * self.random.uniform(0.8, 1.2))
        self.files.setdefault(folder(at), []).append(size)
        if is_late:
            earlier = folder(at - timedelta(days=self.random.randint(1, 30)))
            self.files.setdefault(earlier, []).append(self.random.randint(5_000, 50_000))
        self.commits += 1
        self.snapshots.append((self.commits, at))
        self.volumes[-1].append(at)
        self.dead_versions += 1

    def maintain(self, now: datetime) -> None:
        """One run of the schedule: what each policy says is done."""
        if self.dead_versions >= self.settings.rotate_after:
            self.dead_versions = 0
        if len(self.volumes[-1]) >= self.settings.ledger.volume_commits:
            self.volumes.append([])
        old = [volume for volume in self.volumes[:-1] if is_old(max(volume), now, self.settings.ledger.keep_days)]
        self.volumes = [volume for volume in self.volumes if volume not in old]
        self.sums += len(old)
        self.merge(now)
        keep = self.settings.snapshots
        gone = set(to_expire(self.snapshots, now, keep_for=keep.keep_for, keep_count=keep.keep_count))
        self.snapshots = [(number, at) for number, at in self.snapshots if number not in gone]

    def merge(self, now: datetime) -> None:
        merging, read = self.settings.merge, 0
        target, stop = int(merging.target_file_bytes), int(merging.small_file_bytes)
        alone = {day: is_left_alone(day, "day", now, merging.leave_newest) for day in self.files}
        while True:
            small = [
                SmallFile(0, day, size, is_left_alone=alone[day])
                for day, sizes in self.files.items()
                for size in sizes
                if size < stop
            ]
            found = [
                window
                for window in windows(small, target_bytes=target, stop_bytes=stop)
                if window.saved >= merging.min_files
            ]
            if not found:
                return
            for window in sorted(found, key=lambda window: -window.saved):
                if read >= merging.max_bytes:
                    return
                read += window.size_bytes
                for day in [day for day, is_alone in alone.items() if not is_alone]:
                    if max(self.files[day]) < window.min_bytes or min(self.files[day]) >= window.stop_bytes:
                        continue
                    inside = [size for size in self.files[day] if window.min_bytes <= size < window.stop_bytes]
                    if len(inside) > 1:
                        outside = [size for size in self.files[day] if not window.min_bytes <= size < window.stop_bytes]
                        self.files[day] = outside + [sum(merged) for merged in merges_of(inside, target)]


def folder(at: datetime) -> str:
    return f"year={at.year}/month={at.month}/day={at.day}"


@dataclass(slots=True)
class Peaks:
    """The most that there was of each in one week."""

    files: int = 0
    snapshots: int = 0
    ledger_rows: int = 0
    dead_versions: int = 0

    def note(self, stream: Stream) -> None:
        """At a day's end, before the night's maintenance."""
        self.files = max(self.files, sum(map(len, stream.files.values())))
        self.snapshots = max(self.snapshots, len(stream.snapshots))
        self.ledger_rows = max(self.ledger_rows, sum(map(len, stream.volumes)) + stream.sums)
        self.dead_versions = max(self.dead_versions, stream.dead_versions)


def test_weeks_at_ten_thousand_rows_a_second_stay_small() -> None:
    stream, weeks = Stream(), [Peaks() for _ in range(WEEKS)]
    merging, keep = stream.settings.merge, stream.settings.snapshots
    for day in range(7 * WEEKS):
        begin = FIRST + timedelta(days=day)
        for number in range(COMMITS_A_DAY):
            at = begin + timedelta(seconds=10 * number)
            if number == 120:  # 00:20, as the schedule says
                stream.maintain(at)
                closed = [sizes for name, sizes in stream.files.items() if name != folder(at)]
                small = [sum(size < merging.small_file_bytes for size in sizes) for sizes in closed]
                assert max(map(len, closed), default=0) < 600
                assert max(small, default=0) < merging.warn_files
            stream.commit(at, is_late=number % (COMMITS_A_DAY // LATE_A_DAY) == 0)
        weeks[day // 7].note(stream)
    files_a_day = COMMITS_A_DAY * FILE_BYTES / merging.target_file_bytes
    assert weeks[-1].files < COMMITS_A_DAY + 7 * WEEKS * 2 * files_a_day  # unmerged: 241,920
    for earlier, later in pairwise(weeks[1:]):
        assert later.files - earlier.files < 7 * 2 * files_a_day
        assert later.snapshots <= earlier.snapshots <= (keep.keep_days + 1) * COMMITS_A_DAY
        assert later.ledger_rows <= earlier.ledger_rows + 7
        assert later.dead_versions <= earlier.dead_versions <= COMMITS_A_DAY
    assert weeks[-1].ledger_rows <= (stream.settings.ledger.keep_days + 2) * COMMITS_A_DAY + 7 * WEEKS


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 40), st.booleans()), max_size=40),
    st.integers(10, 60),
)
def test_no_window_can_merge_two_files_that_are_left_alone(found: list[tuple[str, int, bool]], stop: int) -> None:
    files = [SmallFile(number, f"{group}{alone}", size, alone) for number, (group, size, alone) in enumerate(found)]
    previous = 0
    for window in windows(files, target_bytes=2 * stop, stop_bytes=stop):
        assert previous <= window.min_bytes < window.stop_bytes <= stop
        previous = window.stop_bytes
        alone = [
            file.group
            for file in files
            if file.is_left_alone and window.min_bytes <= file.size_bytes < window.stop_bytes
        ]
        assert len(alone) == len(set(alone))


@given(st.lists(st.integers(1, 100)), st.integers(1, 200))
def test_every_file_is_in_one_output(sizes: list[int], target: int) -> None:
    assert [size for merged in merges_of(sizes, target) for size in merged] == sizes
