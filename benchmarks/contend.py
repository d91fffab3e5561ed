"""`python -m benchmarks.contend`: a task on stdin, its work and cost on stdout, one JSON line each way."""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from importlib import import_module

from arrow_ingest import environment
from benchmarks.measurement import Meter
from benchmarks.task import Task, Work

CONTENDERS: Mapping[str, str] = {
    "ours": "ours",
    "insert": "ours",
    "poc_loop": "poc_loop",
    "poc_loop_no_commit": "poc_loop",
    "json": "json_rows",
    "fetch_only": "fetch_only",
    "parquet_only": "parquet_only",
    "dagster_run": "dagster_run",
}
"""Module below `benchmarks.contenders`; only the one that runs is imported, so that nobody pays for another."""


def main() -> None:
    """Run one contender in this process."""
    environment.prepare()
    task = Task.from_json(sys.stdin.readline())
    run: Callable[[Task, Meter], Work] = import_module(f"benchmarks.contenders.{CONTENDERS[task.contender]}").run
    meter = Meter()
    work = run(task, meter)
    print(json.dumps({"work": asdict(work), "cost": asdict(meter.cost())}), flush=True)


if __name__ == "__main__":
    main()
