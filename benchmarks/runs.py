"""Tasks in, what they did and what it cost out: each in a process of its own, which this one watches."""

import json
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.measurement import RssSampler, cpu_seconds_of
from benchmarks.task import Cost, Task, Work

GB = 1e9


class ContenderFailed(Exception):
    """A measured process ended with an error, which stands in its message."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One run of one contender.

    Args:
        broker_cpu_seconds: of the broker's processes while this one lived.
        process_seconds: from its start to its end, all included.
        rss_mib: its resident set every 50 ms.
    """

    contender: str
    work: Work
    cost: Cost
    broker_cpu_seconds: float
    process_seconds: float
    rss_mib: list[float] = field(repr=False)

    @property
    def rows_per_s(self) -> float:
        """Rows per second from the first message to the last commit."""
        return self.work.rows / self.cost.seconds if self.cost.seconds else 0.0

    @property
    def mb_per_s(self) -> float:
        """Payload megabytes (1e6) per second."""
        return self.work.bytes_received / 1e6 / self.cost.seconds if self.cost.seconds else 0.0

    @property
    def cpu_seconds_per_gb(self) -> float:
        """CPU of the measured process per payload gigabyte (1e9), start-up not included."""
        return self.cost.cpu_seconds / self.work.bytes_received * GB if self.work.bytes_received else 0.0

    @property
    def broker_cpu_seconds_per_gb(self) -> float:
        """The broker's CPU per payload gigabyte."""
        return self.broker_cpu_seconds / self.work.bytes_received * GB if self.work.bytes_received else 0.0


def measured(task: Task, broker_pids: tuple[int, ...] = ()) -> Measured:
    """Run the task; its folder is removed afterwards.

    Raises:
        ContenderFailed: with the end of what it wrote to stderr.
    """
    try:
        return together([task], broker_pids)[0]
    finally:
        shutil.rmtree(task.folder, ignore_errors=True)


def together(tasks: list[Task], broker_pids: tuple[int, ...] = ()) -> list[Measured]:
    """Run tasks side by side; their folders stay. Raises as `measured`."""
    for task in tasks:
        Path(task.folder).mkdir(parents=True, exist_ok=True)
    before, began = cpu_seconds_of(broker_pids), time.monotonic()
    with ExitStack() as stack:
        processes = [_start() for _ in tasks]
        samplers = [stack.enter_context(RssSampler(process.pid)) for process in processes]
        for process, task in zip(processes, tasks, strict=True):
            assert process.stdin is not None
            process.stdin.write(task.to_json() + "\n")
            process.stdin.flush()
        answers = [process.communicate() for process in processes]
    seconds, broker_cpu = time.monotonic() - began, cpu_seconds_of(broker_pids) - before
    made = []
    for task, process, (out, err), sampler in zip(tasks, processes, answers, samplers, strict=True):
        if process.returncode:
            raise ContenderFailed(f"{task.contender} ended with {process.returncode}:\n{err[-4000:]}")
        answer = json.loads(out.splitlines()[-1])
        work, cost = Work(**answer["work"]), Cost(**answer["cost"])
        made.append(Measured(task.contender, work, cost, broker_cpu, seconds, sampler.samples_mib))
    return made


def _start() -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.contend"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def middle(runs: list[Measured], name: str) -> float:
    """The median of a property over repetitions."""
    return median(float(getattr(run, name)) for run in runs)


def document(run: Measured) -> dict[str, Any]:
    """One repetition as the results keep it."""
    from dataclasses import asdict

    return {
        "rows_per_s": round(run.rows_per_s),
        "mb_per_s": round(run.mb_per_s, 1),
        "cpu_seconds_per_gb": round(run.cpu_seconds_per_gb, 3),
        "broker_cpu_seconds": round(run.broker_cpu_seconds, 2),
        "process_seconds": round(run.process_seconds, 2),
        "work": asdict(run.work),
        "cost": asdict(run.cost),
    }
