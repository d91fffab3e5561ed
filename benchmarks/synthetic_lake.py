"""Numbers in, a lake of so many files or snapshots out: made by this project's own commits, many files in each."""

import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq

from arrow_ingest.config import PipelineConfig
from arrow_ingest.lake import lanes
from arrow_ingest.lake.commit import Committer, MicroBatch
from arrow_ingest.lake.new_rows import StagedRows
from arrow_ingest.lake.schema import TablePlan, plan_for
from arrow_ingest.lake.session import Lake, open_lake
from arrow_ingest.lake.tables import ensure, read_table_schema
from arrow_ingest.table_shape import IDENTITY_COLUMNS
from arrow_ingest.values import LaneState, Position, Rejection, StagedFile, Tally, ranges_between
from benchmarks.synthetic_history import add_empty_commits
from benchmarks.topics import NOON

ROWS_PER_FILE = 10
DAYS = 30
FILES_PER_COMMIT = 1_000

SETTINGS = {"metadata_columns": list(IDENTITY_COLUMNS)}
"""Few columns: what grows is the number of files, and each column of each file takes its time to be made."""

_MESSAGE = pa.schema([("timestamp", pa.timestamp("us", "UTC"))])


class SyntheticLake:
    """A lake whose files hold one message of a few rows each, spread over `DAYS` days; a context manager."""

    def __init__(self, config: PipelineConfig) -> None:
        self.config = config
        self.files = 0
        self.commits = 0
        self._committer = Committer(config.lake)

    def __enter__(self) -> Self:
        with open_lake(self.config.lake) as lake:
            ensure(lake, self.config)
            self._state = LaneState(self.config.name, 0, 1, 0, "synthetic", {0: Position(0)})
            lanes.create_lane(lake, self._state)
            self._plan = self._planned(lake)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._committer.close()

    def grow_to(self, files: int) -> None:
        """Commit until the table has so many files."""
        while self.files < files:
            self.commit(min(FILES_PER_COMMIT, files - self.files))

    def commit(self, files: int) -> float:
        """Stage files and commit them at once; the seconds of the commit alone."""
        offset = self._state.positions[0].offset
        with ThreadPoolExecutor(2) as pool:
            staged = list(pool.map(self._stage, range(offset, offset + files)))
        return self._commit(staged, offset + files, Tally(messages=files, rows=files * ROWS_PER_FILE))

    def commit_empty(self, count: int) -> None:
        """So many snapshots that each move the lane behind one empty message."""
        start = self._state.positions[0].offset
        self._commit([], start + 1, Tally(messages=1, empty=1))
        self._committer.close()
        with open_lake(self.config.lake) as lake:
            add_empty_commits(lake, lane_table=f"lanes_{self.config.name}_0", count=count - 1)
        self._state = replace(self._state, positions={0: Position(start + count)})
        self.commits += count - 1

    def _commit(self, staged: Sequence[StagedFile], stop: int, tally: Tally) -> float:
        after = replace(self._state, positions={0: Position(stop)})
        batch = MicroBatch(
            commit_id=str(uuid.uuid4()),
            config=self.config,
            before=self._state,
            after=after,
            plan=self._plan,
            rows=StagedRows(tuple(staged)),
            dead_letter_file=None,
            ranges=ranges_between(self._state.offsets, after.offsets),
            tally=tally,
            run_id="benchmark",
        )
        began = time.monotonic()
        self._committer.commit(batch)
        seconds = time.monotonic() - began
        self._state, self._plan = after, self._plan.committed()
        self.files += len(staged)
        self.commits += 1
        return seconds

    def _stage(self, offset: int) -> StagedFile:
        at = NOON - timedelta(days=offset % DAYS)
        hive = f"year={at.year}/month={at.month}/day={at.day}"
        lake = self.config.lake
        path = Path(lake.data_path) / lake.schema_name / lake.table / hive / f"lane-0-synthetic-{offset}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        own = {"timestamp": at, "_kafka_generation": 0, "_kafka_partition": 0, "_kafka_offset": offset}
        columns = [
            pa.arange(0, ROWS_PER_FILE).cast(field.type)
            if field.name == "_kafka_row"
            else pa.repeat(pa.scalar(own.get(field.name), field.type), ROWS_PER_FILE)
            for field in self._plan.target
        ]
        pq.write_table(pa.table(columns, schema=self._plan.target), path, compression="zstd")
        return StagedFile(str(path), f"{at:%Y-%m-%d}", ROWS_PER_FILE, path.stat().st_size, datetime.now(UTC))

    def _planned(self, lake: Lake) -> TablePlan:
        extended = plan_for(self.config, read_table_schema(lake, self.config.lake)).extend(_MESSAGE)
        if isinstance(extended, Rejection):
            raise TypeError(extended.detail)
        return extended
