"""Brokers in, rows per second of every contender beside the limits out: they alternate over three repetitions."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.brokers import RunningBroker
from benchmarks.runs import Measured, document, measured
from benchmarks.task import Task
from benchmarks.topics import Topic, events, preload_arrow, preload_json

CAP_SECONDS = 15.0
REPETITIONS = 3
OURS, INSERT, POC, POC_NO_COMMIT, JSON = "ours", "insert", "poc_loop", "poc_loop_no_commit", "json"
FETCH, PARQUET, DAGSTER = "fetch_only", "parquet_only", "dagster_run"
ALL = (OURS, INSERT, POC, POC_NO_COMMIT, JSON, FETCH, PARQUET)
BESIDE = (OURS, POC, FETCH, PARQUET)
"""What is run on a second broker when time is short."""

SETTINGS: Mapping[str, Mapping[str, Any]] = {INSERT: {"writer": "insert"}}
OPTIONS: Mapping[str, Mapping[str, Any]] = {POC_NO_COMMIT: {"commit": False}}


@dataclass(frozen=True, slots=True)
class Throughput:
    """What all contenders made of one topic; per contender one run a repetition."""

    broker: str
    rows: int
    size_bytes: int
    runs: Mapping[str, Sequence[Measured]]

    def document(self) -> dict[str, Any]:
        """Summary, and every repetition of every contender."""
        repetitions = {name: [document(run) for run in runs] for name, runs in self.runs.items()}
        return {**summary(self), "contenders": {name: medians(runs) for name, runs in self.runs.items()}} | {
            "repetitions": repetitions
        }


def run(
    broker: RunningBroker, folder: Path, *, rows: int, contenders: Sequence[str], cap_seconds: float, dagster: bool
) -> Throughput:
    """Preload the topics, then let the contenders drain them in turn."""
    arrow = preload_arrow(broker.bootstrap_servers, "bench-arrow", events(), rows=rows)
    texts = preload_json(broker.bootstrap_servers, "bench-json", rows=rows) if JSON in contenders else arrow
    runs: dict[str, list[Measured]] = {name: [] for name in contenders}
    for repetition in range(REPETITIONS):
        for name in contenders:
            task = _task(name, broker, texts if name == JSON else arrow, folder / f"{name}-{repetition}", cap_seconds)
            made = measured(task, broker.pids)
            print(f"  {repetition + 1}/{REPETITIONS} {name:20} {made.rows_per_s:>10,.0f} rows/s", flush=True)
            runs[name].append(made)
    if dagster:
        runs[DAGSTER] = [measured(_task(DAGSTER, broker, arrow, folder / DAGSTER, cap_seconds), broker.pids)]
    return Throughput(broker.name, arrow.rows, arrow.size_bytes, runs)


def _task(name: str, broker: RunningBroker, topic: Topic, folder: Path, cap_seconds: float) -> Task:
    return Task(
        contender=name,
        bootstrap_servers=broker.bootstrap_servers,
        topic=topic.name,
        messages=topic.messages,
        rows=topic.rows,
        folder=str(folder),
        cap_seconds=cap_seconds,
        settings=SETTINGS.get(name, {}),
        options=OPTIONS.get(name, {}),
    )


def medians(runs: Sequence[Measured]) -> dict[str, Any]:
    """What the table shows of one contender."""
    return {
        "rows_per_s": round(median(run.rows_per_s for run in runs)),
        "mb_per_s": round(median(run.mb_per_s for run in runs), 1),
        "user_seconds_per_gb": round(median(_per_gb(run, run.cost.user_seconds) for run in runs), 3),
        "system_seconds_per_gb": round(median(_per_gb(run, run.cost.system_seconds) for run in runs), 3),
        "cpu_seconds_per_gb": round(median(run.cpu_seconds_per_gb for run in runs), 3),
        "broker_cpu_seconds_per_gb": round(median(run.broker_cpu_seconds_per_gb for run in runs), 3),
        "minor_faults_per_mb": round(median(run.cost.minor_faults / run.work.bytes_received * 1e6 for run in runs), 1),
        "peak_rss_mib": round(median(run.cost.peak_rss_mib for run in runs)),
        "start_seconds": round(median(run.cost.start_seconds for run in runs), 2),
        "start_cpu_seconds": round(median(run.cost.start_cpu_seconds for run in runs), 2),
        "commits": round(median(run.work.commits for run in runs)),
        "files": round(median(run.work.files for run in runs)),
        "bytes_on_disk": round(median(run.work.bytes_on_disk for run in runs)),
        "rows": round(median(run.work.rows for run in runs)),
    }


def summary(made: Throughput) -> dict[str, Any]:
    """The numbers that the targets are about. Ratios are of one repetition, and the median of them is what counts."""
    ours = made.runs[OURS]
    found: dict[str, Any] = {
        "broker": made.broker,
        "rows": made.rows,
        "payload_bytes": made.size_bytes,
        "rows_per_s": round(median(run.rows_per_s for run in ours)),
        "cpu_seconds_per_gb": round(median(run.cpu_seconds_per_gb for run in ours), 3),
        "peak_rss_mib": round(max(run.cost.peak_rss_mib for run in ours), 1),
        "bytes_copied_per_byte": round(sum(r.work.bytes_copied for r in ours) / _received(ours), 6),
        "bytes_cast_per_byte": round(sum(r.work.bytes_cast for r in ours) / _received(ours), 6),
    }
    for key, name in (("ratio_vs_poc_loop", POC), ("ratio_vs_json", JSON)):
        if name in made.runs:
            ratios = (a.rows_per_s / b.rows_per_s for a, b in zip(ours, made.runs[name], strict=True))
            found[key] = round(median(ratios), 2)
    if FETCH in made.runs and PARQUET in made.runs:
        limits = list(zip(ours, made.runs[FETCH], made.runs[PARQUET], strict=True))
        found["share_of_limit"] = round(median(a.rows_per_s / min(e.rows_per_s, f.rows_per_s) for a, e, f in limits), 3)
        found["cpu_vs_limits"] = round(
            median(a.cpu_seconds_per_gb / (e.cpu_seconds_per_gb + f.cpu_seconds_per_gb) for a, e, f in limits), 3
        )
        found["cores_allow_rows_per_s"] = round(median(_allowed(e, f) for _, e, f in limits))
        found["share_of_cores"] = round(median(a.rows_per_s / _allowed(e, f) for a, e, f in limits), 3)
    return found


def _allowed(fetch: Measured, parquet: Measured) -> float:
    """Rows per second if broker, fetching and Parquet writing kept all cores busy and nothing else were to do."""
    fetching = (fetch.cost.cpu_seconds + fetch.broker_cpu_seconds) / fetch.work.rows
    writing = parquet.cost.cpu_seconds / parquet.work.rows
    return (os.cpu_count() or 1) / (fetching + writing)


def _per_gb(run: Measured, seconds: float) -> float:
    return seconds / run.work.bytes_received * 1e9


def _received(runs: Sequence[Measured]) -> int:
    return sum(run.work.bytes_received for run in runs)
