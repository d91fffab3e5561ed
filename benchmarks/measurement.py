"""A process's own clock, CPU, page faults and memory in, the cost of a part of its life out. Linux only."""

import os
import resource
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.task import Cost

MIB = 1024 * 1024
SAMPLE_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Usage:
    """This process at one moment: `time.monotonic` seconds and what getrusage counts, all threads together."""

    at_seconds: float
    user_seconds: float
    system_seconds: float
    minor_faults: int
    major_faults: int
    voluntary_switches: int
    involuntary_switches: int

    @classmethod
    def now(cls) -> Self:
        """What was used until now."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        return cls(
            time.monotonic(),
            used.ru_utime,
            used.ru_stime,
            used.ru_minflt,
            used.ru_majflt,
            used.ru_nvcsw,
            used.ru_nivcsw,
        )


class Meter:
    """Measures the steady part of a contender's work: `begin` with the first message, `mark` with every commit."""

    def __init__(self) -> None:
        self._began: Usage | None = None
        self._marked: Usage | None = None

    def begin(self) -> None:
        """The first message is there; later calls do nothing."""
        if self._began is None:
            self._began = Usage.now()

    def mark(self) -> None:
        """What was done until now counts."""
        self._marked = Usage.now()

    @property
    def elapsed_seconds(self) -> float:
        """Since `begin`; 0 before it."""
        return 0.0 if self._began is None else time.monotonic() - self._began.at_seconds

    def cost(self) -> Cost:
        """From `begin` to the last `mark`."""
        began = self._began or Usage.now()
        marked = self._marked or began
        return Cost(
            seconds=marked.at_seconds - began.at_seconds,
            user_seconds=marked.user_seconds - began.user_seconds,
            system_seconds=marked.system_seconds - began.system_seconds,
            minor_faults=marked.minor_faults - began.minor_faults,
            major_faults=marked.major_faults - began.major_faults,
            voluntary_switches=marked.voluntary_switches - began.voluntary_switches,
            involuntary_switches=marked.involuntary_switches - began.involuntary_switches,
            start_seconds=_age_seconds() - (time.monotonic() - began.at_seconds),
            start_cpu_seconds=began.user_seconds + began.system_seconds,
            peak_rss_mib=peak_rss_mib(),
        )


class RssSampler:
    """Samples another process's resident set while it runs, on a thread of this one."""

    def __init__(self, pid: int) -> None:
        self._statm = Path(f"/proc/{pid}/statm")
        self._page_mib = os.sysconf("SC_PAGE_SIZE") / MIB
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="rss", daemon=True)
        self.samples_mib: list[float] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._stop.wait(SAMPLE_SECONDS):
            try:
                resident = int(self._statm.read_text().split()[1])
            except (OSError, IndexError):
                return
            if resident:
                self.samples_mib.append(round(resident * self._page_mib, 1))


def peak_rss_mib() -> float:
    """This process's largest resident set. Not getrusage's: that one is inherited from whoever forked it."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise OSError("/proc/self/status has no VmHWM")


def cpu_seconds_of(pids: tuple[int, ...]) -> float:
    """User and system CPU of other processes so far; one that has ended counts as 0."""
    return sum(_cpu_seconds(pid) for pid in pids)


def _cpu_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _age_seconds() -> float:
    """How long ago this process was started."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    started = int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return float(Path("/proc/uptime").read_text().split()[0]) - started
