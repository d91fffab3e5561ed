"""Settings that trade one thing for another in, what each costs and brings out: why the defaults are what they are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.brokers import RunningBroker
from benchmarks.runs import Measured, measured
from benchmarks.task import Task
from benchmarks.topics import events, preload_arrow

REPETITIONS = 3


@dataclass(frozen=True, slots=True)
class Trade:
    """One setting under one value; ``default`` marks the line that the others are compared with."""

    setting: str
    value: str
    settings: Mapping[str, Any]
    default: bool = False


def _of(group: str | None, key: str, values: Sequence[Any], default: object) -> tuple[Trade, ...]:
    name = key if group is None else f"{group}.{key}"
    return tuple(
        Trade(name, str(value), {key: value} if group is None else {group: {key: value}}, default=value == default)
        for value in values
    )


TRADES: tuple[Trade, ...] = (
    *_of("parquet", "compression", ("zstd", "snappy", "lz4", "none"), "zstd"),
    Trade("parquet.compression_level", "3", {"parquet": {"compression": "zstd", "compression_level": 3}}),
    *_of("parquet", "row_group_bytes", ("8MiB", "32MiB", "64MiB"), "32MiB"),
    *_of("parquet", "threads", (1, 2, 4), 2),
    *_of("flush", "max_bytes", ("64MiB", "128MiB", "256MiB", "512MiB"), "256MiB"),
    *_of(None, "max_in_flight_bytes", ("64MiB", "128MiB", "256MiB"), "128MiB"),
    *_of("kafka", "max_queued_bytes", ("16MiB", "32MiB", "64MiB"), "32MiB"),
)


def run(broker: RunningBroker, folder: Path, *, rows: int) -> list[dict[str, Any]]:
    """Drain the same topic under every setting; they alternate over the repetitions, and medians count."""
    topic = preload_arrow(broker.bootstrap_servers, "bench-trades", events(), rows=rows)
    made: dict[int, list[Measured]] = {number: [] for number in range(len(TRADES))}
    for repetition in range(REPETITIONS):
        for number, trade in enumerate(TRADES):
            task = Task(
                contender="ours",
                bootstrap_servers=broker.bootstrap_servers,
                topic=topic.name,
                messages=topic.messages,
                rows=topic.rows,
                folder=str(folder / f"trade-{number}-{repetition}"),
                settings=trade.settings,
            )
            made[number].append(measured(task, broker.pids))
        print(f"  {repetition + 1}/{REPETITIONS}", flush=True)
    return [_document(TRADES[number], each) for number, each in made.items()]


def _document(trade: Trade, runs: Sequence[Measured]) -> dict[str, Any]:
    return {
        "setting": trade.setting,
        "value": f"**{trade.value}**" if trade.default else trade.value,
        "rows_per_s": round(median(run.rows_per_s for run in runs)),
        "cpu_seconds_per_gb": round(median(run.cpu_seconds_per_gb for run in runs), 2),
        "peak_rss_mib": round(median(run.cost.peak_rss_mib for run in runs)),
        "commits": round(median(run.work.commits for run in runs)),
        "files": round(median(run.work.files for run in runs)),
        "mb_on_disk": round(median(run.work.bytes_on_disk for run in runs) / 1e6, 1),
    }
