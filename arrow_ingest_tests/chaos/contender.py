"""One of several processes that want to write one lane's row at the same time; the fence lets one through.

Usage: ``python -m arrow_ingest_tests.chaos.contender PIPELINE_JSON``

Each line of standard input names what to do (`ACTIONS`). It then reads the row, prepares, prints ``ready``, waits for
the next line, acts, and prints what came of it: ``landed``, or the error's class and text.
"""

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime

from arrow_ingest.config import PipelineConfig
from arrow_ingest.errors import ArrowIngestError, SuspendReason
from arrow_ingest.lake import lanes
from arrow_ingest.lake.commit import Committer
from arrow_ingest.lake.layouts import apply_layout
from arrow_ingest.lake.maintenance.report import Outcome
from arrow_ingest.lake.maintenance.run import maintain
from arrow_ingest.lake.session import Lake, open_lake
from arrow_ingest.maintenance_settings import Step
from arrow_ingest.values import LaneState, Position
from arrow_ingest_tests.lake_writers import DAY, micro_batch, plan, stage

ROWS = 3
RUN_ID = "contender"

Act = Callable[[], object]


def commit(lake: Lake, committer: Committer, config: PipelineConfig, state: LaneState) -> Act:
    """A micro-batch of a few rows, staged before the race begins. No lane lock is held: the fence has to do."""
    planned = plan(lake, config)
    batch = micro_batch(config, state, planned, [stage(config, planned, [DAY] * ROWS)])
    return lambda: committer.commit(batch)


def suspend(lake: Lake, _: Committer, __: PipelineConfig, state: LaneState) -> Act:
    return lambda: lanes.suspend(lake, state, SuspendReason.TOPIC_RECREATED, "an operator, amid commits")


def resume(lake: Lake, _: Committer, __: PipelineConfig, state: LaneState) -> Act:
    return lambda: lanes.resume(lake, state, run_id=RUN_ID)


def rebase(lake: Lake, _: Committer, __: PipelineConfig, state: LaneState) -> Act:
    start = {partition: Position(0) for partition in state.positions}
    topic_id = f"topic-id-{state.generation + 1}"
    return lambda: lanes.rebase(lake, state, topic_id=topic_id, positions=start, run_id=RUN_ID)


def relayout(lake: Lake, _: Committer, config: PipelineConfig, state: LaneState) -> Act:
    """`lanes apply --force`: one lane becomes two, or two become one. It goes by what it finds, and so never loses."""
    return lambda: apply_layout(lake, config.name, 3 - state.layout, unstarted={}, run_id=RUN_ID)


def rotate(_: Lake, __: Committer, config: PipelineConfig, ___: LaneState) -> Act:
    """Maintenance makes the table of the lane's row anew; what the row says stays."""

    def act() -> None:
        [step] = maintain(config, run_id=RUN_ID, now=datetime.now(UTC), only=[Step.ROTATE]).steps
        assert step.outcome is Outcome.DONE, step

    return act


ACTIONS = {action.__name__: action for action in (commit, suspend, resume, rebase, relayout, rotate)}


def main() -> None:
    config = PipelineConfig.model_validate(json.loads(sys.argv[1]))
    with open_lake(config.lake) as lake, Committer(config.lake) as committer:
        for name in map(str.strip, sys.stdin):
            state = lanes.read_lane(lake, config.name, 0)
            assert state is not None
            act = ACTIONS[name](lake, committer, config, state)
            print("ready", flush=True)
            sys.stdin.readline()
            try:
                act()
            except ArrowIngestError as error:
                print(f"{type(error).__name__}: {error}".replace("\n", " "), flush=True)
            else:
                print("landed", flush=True)


if __name__ == "__main__":
    main()
