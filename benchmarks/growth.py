"""A catalog in, what a commit, `status`, `verify` and a partition query cost there as files and snapshots grow out."""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

from arrow_ingest.config import PipelineConfig
from arrow_ingest.lake.maintenance.report import Outcome
from arrow_ingest.lake.maintenance.run import maintain
from arrow_ingest.lake.session import open_lake
from arrow_ingest.lake.verify import verify
from arrow_ingest.pipeline.standing import standing_of
from benchmarks.settings import pipeline
from benchmarks.synthetic_lake import SETTINGS, SyntheticLake
from benchmarks.task import Task

COMMITS = 15
"""Commits of one file each, of which the median counts."""

PARTITION_QUERY = """
SELECT count(*), min("_kafka_offset"), max("_kafka_offset") FROM lake.main.events_arrow
WHERE "timestamp" >= TIMESTAMPTZ '2026-11-01 00:00:00+00' AND "timestamp" < TIMESTAMPTZ '2026-11-02 00:00:00+00'
"""


def run(
    new_catalog: Callable[[str], str],
    folder: Path,
    *,
    levels: Sequence[int],
    snapshots: int,
    verify_up_to: int,
    bootstrap_servers: str,
) -> list[dict[str, Any]]:
    """Measure at each number of files; then beside a small lake; then after so many snapshots, and after merging.

    Args:
        new_catalog: the address of an empty catalog of this name.
        snapshots: 0: leave both out.
        verify_up_to: `verify` reads every file, so it is left out where there are more.
    """

    def config(name: str) -> PipelineConfig:
        settings = {**SETTINGS, "lake": lake_of(new_catalog(name), folder / name)}
        return pipeline(Task("ours", bootstrap_servers, "bench-growth", 0, 0, str(folder / name), settings=settings))

    found: list[dict[str, Any]] = []
    with SyntheticLake(config("large")) as large, SyntheticLake(config("small")) as small:
        for level in levels:
            large.grow_to(level)
            found.append(_measured(large, f"{level:,} files", verifies=level <= verify_up_to))
        small.grow_to(levels[0])
        found.append(_compared(small, large))
        if snapshots:
            large.commit_empty(snapshots - large.commits)
            verifies = large.files <= verify_up_to
            found.append(_measured(large, f"{snapshots:,} snapshots", verifies=verifies))
            found.append(_maintained(large.config))
            found.append(_measured(large, "after maintenance", verifies=verifies))
    return found


def lake_of(catalog: str, folder: Path) -> dict[str, str]:
    """The lake's settings, over a catalog that may be anywhere."""
    return {"catalog": catalog, "data_path": str(folder / "data"), "table": "events_arrow"}


def _measured(lake: SyntheticLake, step: str, *, verifies: bool) -> dict[str, Any]:
    files, commits = lake.files, lake.commits
    lake.commit(1)  # the first one after a large commit loads what that changed
    seconds = [lake.commit(1) for _ in range(COMMITS)]
    row: dict[str, Any] = {
        "step": step,
        "files": files,
        "snapshots": commits,
        "commit_ms": round(median(seconds) * 1000, 1),
        "status_ms": round(_seconds(lambda: standing_of(lake.config, commits=5)) * 1000),
        "partition_query_ms": round(_seconds(lambda: _query(lake.config)) * 1000),
    }
    if verifies:
        row["verify_ms"] = round(_seconds(lambda: _verify(lake.config)) * 1000)
    print(f"  {step:20} {row}", flush=True)
    return row


def _compared(small: SyntheticLake, large: SyntheticLake) -> dict[str, Any]:
    """Commits to a small and to a large lake in turn, so that both meet the same machine."""
    files = large.files
    seconds: dict[SyntheticLake, list[float]] = {small: [], large: []}
    for lake in (small, large):
        lake.commit(1)
    for _ in range(COMMITS):
        for lake, taken in seconds.items():
            taken.append(lake.commit(1))
    return {
        "step": f"{files:,} files, beside a lake of {small.files - COMMITS - 1:,}",
        "files": files,
        "commit_ms": round(median(seconds[large]) * 1000, 1),
        "small_commit_ms": round(median(seconds[small]) * 1000, 1),
        "commit_cost_ratio": round(median(seconds[large]) / median(seconds[small]), 2),
    }


def _query(config: PipelineConfig) -> None:
    with open_lake(config.lake, read_only=True) as lake:
        lake.execute(PARTITION_QUERY)


def _verify(config: PipelineConfig) -> None:
    with open_lake(config.lake, read_only=True) as lake:
        report = verify(lake, config)
    if report.findings:
        raise AssertionError(f"the synthetic lake is wrong: {report.findings[:3]}")


def _maintained(config: PipelineConfig) -> dict[str, Any]:
    """This project's own, by its defaults, as it would find the lake in a month."""
    report = maintain(config, run_id="benchmark", now=datetime.now(UTC) + timedelta(days=30))
    if failed := [step.says for step in report.steps if step.outcome is Outcome.FAILED]:
        raise AssertionError(f"maintenance failed: {failed}")
    row = {"step": "maintenance", "files": report.after.files, "snapshots": report.after.snapshots}
    row["seconds"] = round(report.seconds, 1)
    print(f"  {row}", flush=True)
    return row


def _seconds(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def cost_ratio(rows: Sequence[Mapping[str, Any]]) -> float:
    """Cost per commit at the highest number of files over that at the lowest, measured in turn."""
    return next(float(row["commit_cost_ratio"]) for row in rows if "commit_cost_ratio" in row)
