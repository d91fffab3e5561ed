"""A lane whose commits are made from messages as a drain makes them, without a broker: the subject of many tests."""

import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from arrow_ingest.config import PipelineConfig
from arrow_ingest.lake import lanes
from arrow_ingest.lake.commit import Committer, MicroBatch
from arrow_ingest.lake.conform import Stamp, conform
from arrow_ingest.lake.dead_letters import stage_dead_letters
from arrow_ingest.lake.findings import Code, VerifyReport
from arrow_ingest.lake.new_rows import StagedRows
from arrow_ingest.lake.partition import split
from arrow_ingest.lake.schema import plan_for
from arrow_ingest.lake.session import Lake, open_lake
from arrow_ingest.lake.staging import Stager
from arrow_ingest.lake.tables import ensure, read_table_schema
from arrow_ingest.lake.verify import verify
from arrow_ingest.values import DeadLetter, LaneState, Position, Reason, Rejection, StagedFile, Tally, ranges_between
from arrow_ingest_tests.staged_table import INSERTED_AT, accepted, by_day, pipeline

TOPIC_ID = "topic-id-a"
ROWS = 20
TABLE = "lake.main.events"


class Drained:
    """A lane whose commits are made from messages as a drain makes them, without a broker."""

    def __init__(
        self,
        folder: Path,
        config: PipelineConfig | None = None,
        *,
        lane: int = 0,
        layout: int = 1,
        partitions: Sequence[int] = (0, 1),
    ) -> None:
        self.config: PipelineConfig = config or pipeline(folder, **by_day())
        self.lake: Lake = open_lake(self.config.lake)
        ensure(self.lake, self.config)
        held = lanes.read_lane(self.lake, "events", lane)
        self.state = held or LaneState("events", lane, layout, 0, TOPIC_ID, {part: Position(0) for part in partitions})
        if held is None:
            lanes.create_lane(self.lake, self.state)
        self.committer: Committer | None = None
        """Kept open by a test that makes many commits."""

    def commit(self, messages: int = 3, *, empty: int = 0, dead: int = 0) -> tuple[StagedFile, ...]:
        """One micro-batch: so many messages of `ROWS` rows per partition, and on the first one empty and dead ones."""
        commit_id = str(uuid.uuid4())
        plan = plan_for(self.config, read_table_schema(self.lake, self.config.lake))
        letters = []
        offsets = self.state.offsets
        first, *others = offsets
        counts = {first: messages + empty + dead, **dict.fromkeys(others, messages)}
        with ThreadPoolExecutor(1) as pool:
            stager = Stager(self.config.lake, self.config.parquet, pool=pool, commit_id=commit_id, lane=self.state.lane)
            for partition, count in counts.items():
                for number in range(count):
                    offset = offsets[partition] + number
                    if number < messages:
                        batch = message(offset)
                        plan = accepted(plan.extend(batch.schema))
                        place = Stamp(self.state.generation, partition, offset, 0, INSERTED_AT)
                        rows = accepted(conform(batch, plan, place, first_row=0)).batch
                        parted = accepted(split([rows], self.config.partition_by, self.config.limits))
                        for piece in parted.slices:
                            stager.append(piece, source=(partition, offset))
                    elif number >= messages + empty:
                        rejection = Rejection(Reason.FRAMING, "no stream")
                        letters.append(DeadLetter(0, partition, offset, 0, None, (), None, rejection))
                offsets[partition] += count
            files = stager.close()
        after = replace(self.state, positions={p: Position(offset) for p, offset in offsets.items()})
        with nullcontext(self.committer) if self.committer else Committer(self.config.lake) as committer:
            committer.commit(
                MicroBatch(
                    commit_id=commit_id,
                    config=self.config,
                    before=self.state,
                    after=after,
                    plan=plan,
                    rows=StagedRows(files),
                    dead_letter_file=stage_dead_letters(
                        letters, self.config.lake, self.config.parquet, commit_id=commit_id, lane=self.state.lane
                    ),
                    ranges=ranges_between(self.state.offsets, after.offsets),
                    tally=Tally(len(counts) * messages + empty + dead, len(counts) * messages * ROWS, empty, dead),
                    run_id="test",
                )
            )
        self.state = after
        return files

    def verify(self, **arguments: Any) -> VerifyReport:
        """By a session of its own, as the command does."""
        with open_lake(self.config.lake, read_only=True) as lake:
            return verify(lake, self.config, **arguments)

    def found(self, **arguments: Any) -> list[Code]:
        return sorted({finding.code for finding in self.verify(**arguments).findings})

    def damage(self, *statements: str, author: str = "mallory") -> None:
        """Run statements in one transaction that bears an author."""
        with self.lake.transaction():
            for text in statements:
                self.lake.execute(text)
            self.lake.execute("CALL lake.set_commit_message(?, 'damage')", [author])


def message(offset: int) -> pa.RecordBatch:
    """Rows of two days."""
    days = [f"2026-11-0{4 + (offset + row) % 2}T00:00:00Z" for row in range(ROWS)]
    return pa.record_batch({"ts": days, "n": list(range(ROWS))})
