"""A catalog in, what a commit, `status`, `verify` and a partition query cost there as files and snapshots grow out."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from arrow_ingest.cli.standing import standing_of
from arrow_ingest.config import PipelineConfig
from arrow_ingest.lake.session import open_lake
from arrow_ingest.lake.sql import LAKE
from arrow_ingest.lake.verify import verify
from benchmarks.settings import pipeline
from benchmarks.synthetic_lake import SyntheticLake
from benchmarks.task import Task

COMMITS = 15
"""Commits of one file each, of which the median counts."""

PARTITION_QUERY = """
SELECT count(*), min("_kafka_offset"), max("_kafka_offset") FROM lake.main.events_arrow
WHERE "timestamp" >= TIMESTAMPTZ '2026-11-01 00:00:00+00' AND "timestamp" < TIMESTAMPTZ '2026-11-02 00:00:00+00'
"""


def run(
    catalog: str, folder: Path, *, levels: Sequence[int], snapshots: int, verify_up_to: int, bootstrap_servers: str
) -> list[dict[str, Any]]:
    """Measure at each number of files, then once more when so many snapshots were made, and after merging.

    Args:
        snapshots: 0: leave both out.
        verify_up_to: `verify` reads every file, so it is left out where there are more.
    """
    config = pipeline(
        Task("ours", bootstrap_servers, "bench-growth", 0, 0, str(folder), settings={"lake": lake_of(catalog, folder)})
    )
    found: list[dict[str, Any]] = []
    with SyntheticLake(config) as lake:
        for level in levels:
            lake.grow_to(level)
            found.append(_measured(lake, f"{level:,} files", verifies=level <= verify_up_to))
        if snapshots:
            while lake.commits < snapshots:
                lake.commit_nothing()
            found.append(_measured(lake, f"{snapshots:,} snapshots", verifies=False))
            found.append({"step": "maintenance", "seconds": _seconds(lambda: _maintain(config))})
            found.append(_measured(lake, "after maintenance", verifies=False))
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


def _query(config: PipelineConfig) -> None:
    with open_lake(config.lake, read_only=True) as lake:
        lake.execute(PARTITION_QUERY)


def _verify(config: PipelineConfig) -> None:
    with open_lake(config.lake, read_only=True) as lake:
        report = verify(lake, config)
    if report.findings:
        raise AssertionError(f"the synthetic lake is wrong: {report.findings[:3]}")


def _maintain(config: PipelineConfig) -> None:
    """DuckLake's own: merge small files, expire all snapshots but the last."""
    with open_lake(config.lake) as lake:
        lake.execute(f"CALL ducklake_merge_adjacent_files('{LAKE}')")
        lake.execute(f"CALL ducklake_expire_snapshots('{LAKE}', older_than => now())")


def _seconds(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def cost_ratio(rows: Sequence[Mapping[str, Any]], low: int, high: int) -> float:
    """Cost per commit at ``high`` files over that at ``low``."""
    cost = {row["files"]: float(row["commit_ms"]) for row in rows if "files" in row}
    return round(cost[high] / cost[low], 2)
