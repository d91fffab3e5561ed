"""Real lakes, lanes and staged files for the lake's tests, and writers of them in processes of their own."""

import subprocess
import sys
import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from arrow_ingest.config import PipelineConfig
from arrow_ingest.lake import lanes
from arrow_ingest.lake.commit import MicroBatch
from arrow_ingest.lake.new_rows import StagedRows
from arrow_ingest.lake.schema import TablePlan, plan_for
from arrow_ingest.lake.session import Lake
from arrow_ingest.lake.tables import ensure, read_table_schema
from arrow_ingest.values import LaneState, Position, Rejection, StagedFile, Tally, ranges_between

EVENTS = pa.schema([("event", pa.string()), ("timestamp", pa.timestamp("us", "UTC"))])
_WRITE_LOCK = """
import sqlite3, sys
with sqlite3.connect(sys.argv[1], isolation_level=None) as catalog:
    catalog.execute("BEGIN IMMEDIATE")
    print("held", flush=True)
    sys.stdin.read()
"""

DAY = datetime(2026, 11, 4, 2, tzinfo=UTC)
"""Two o'clock in UTC: in Los Angeles it is the day before."""


def pipeline(folder: Path, **settings: Any) -> PipelineConfig:
    """A pipeline over a lake in ``folder``, partitioned by day; ``settings`` replace top-level keys."""
    attributes: dict[str, Any] = {
        "name": "events",
        "kafka": {"topic": "topic-a", "bootstrap_servers": "127.0.0.1:1"},
        "lake": {
            "catalog": f"sqlite:{folder / 'catalog.sqlite'}",
            "data_path": str(folder / "data"),
            "table": "events",
        },
        "partition_by": {"column": "timestamp", "unit": "day", "start": "2026-01-01"},
    }
    return PipelineConfig.model_validate(attributes | settings)


def new_lane(lake: Lake, config: PipelineConfig, *, lane: int = 0, partitions: Sequence[int] = (0, 1)) -> LaneState:
    """Make the pipeline's tables and a lane that stands at offset 0 of its partitions."""
    ensure(lake, config)
    state = LaneState(
        pipeline=config.name,
        lane=lane,
        layout=1,
        generation=0,
        topic_id="topic-id-a",
        positions={partition: Position(0) for partition in partitions},
    )
    lanes.create_lane(lake, state)
    return state


def plan(lake: Lake, config: PipelineConfig, incoming: pa.Schema = EVENTS) -> TablePlan:
    """The plan for messages of one schema over the table as it is."""
    extended = plan_for(config, read_table_schema(lake, config.lake)).extend(incoming)
    assert not isinstance(extended, Rejection), extended
    return extended


def stage(
    config: PipelineConfig, planned: TablePlan, times: Sequence[datetime | None], **columns: list[Any]
) -> StagedFile:
    """A staged file of the day of the first time; columns that are not given are NULL."""
    given: dict[str, list[Any]] = {"timestamp": list(times), **columns}
    table = pa.table({name: given.get(name, [None] * len(times)) for name in planned.target.names}, planned.target)
    day = times[0].date() if config.partition_by is not None and times[0] is not None else None
    hive = "" if config.partition_by is None else _hive_path(day)
    path = (
        Path(config.lake.data_path)
        / config.lake.schema_name
        / config.lake.table
        / hive
        / f"lane-0-{uuid.uuid4()}.parquet"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
    return StagedFile(
        str(path), None if day is None else day.isoformat(), len(times), path.stat().st_size, datetime.now(UTC)
    )


def micro_batch(
    config: PipelineConfig,
    before: LaneState,
    planned: TablePlan,
    files: Sequence[StagedFile],
    *,
    messages: int = 1,
    **fields: Any,
) -> MicroBatch:
    """A micro-batch that takes every partition of the lane ``messages`` offsets further."""
    positions = {part: Position(position.offset + messages) for part, position in before.positions.items()}
    after = replace(before, positions=positions)
    rows = sum(file.rows for file in files)
    arguments: dict[str, Any] = {
        "commit_id": str(uuid.uuid4()),
        "config": config,
        "before": before,
        "after": after,
        "plan": planned,
        "rows": StagedRows(tuple(files)),
        "dead_letter_file": None,
        "ranges": ranges_between(before.offsets, after.offsets),
        "tally": Tally(messages=messages * len(positions), rows=rows),
        "run_id": "test-run",
    }
    return MicroBatch(**(arguments | fields))


def staged_files(batch: MicroBatch) -> tuple[StagedFile, ...]:
    """The staged files of a micro-batch that `micro_batch` made."""
    assert isinstance(batch.rows, StagedRows)
    return batch.rows.files


def count_rows(lake: Lake, config: PipelineConfig) -> int:
    """Rows of the pipeline's table."""
    ((count,),) = lake.execute(f'SELECT count(*) FROM lake."{config.lake.schema_name}"."{config.lake.table}"')
    return int(count)


def start_python(program: str, *arguments: str) -> "subprocess.Popen[str]":
    """Run a program in a process of its own, with pipes to all of its streams."""
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def hold_write_lock(catalog: Path) -> "subprocess.Popen[str]":
    """A foreign writer, who knows nothing of our lock files, amid a transaction on the SQLite file."""
    child = start_python(_WRITE_LOCK, str(catalog))
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    return child


def let_go(*children: "subprocess.Popen[str]") -> list[str]:
    """Send every child a line, so that those that wait for one go on at the same time; their outputs at the end."""
    for child in children:
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
    return [finished(child) for child in children]


def finished(child: "subprocess.Popen[str]") -> str:
    """Close the child's input and wait for its end; its output."""
    out, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    return out


def _hive_path(day: Any) -> str:
    if day is None:
        return "/".join(f"{key}=__HIVE_DEFAULT_PARTITION__" for key in ("year", "month", "day"))
    return f"year={day.year}/month={day.month}/day={day.day}"
