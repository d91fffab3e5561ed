"""What writes to a lake, by name, in a process of its own: the line to its catalog is cut amid it.

Usage: ``python -m arrow_ingest_tests.chaos.cut_operations``

Each line of standard input is a JSON list: an operation's name and a pipeline's settings. What became of it is one line
of output, ``done`` or an error's class and text. DuckDB may end the process when its server vanishes (FACTS).
"""

import json
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial

from arrow_ingest.config import PipelineConfig
from arrow_ingest.errors import ArrowIngestError, NothingToRebase
from arrow_ingest.lake.dead_letter_query import Wanted
from arrow_ingest.lake.maintenance.report import Outcome
from arrow_ingest.lake.maintenance.run import maintain
from arrow_ingest.lake.session import open_lake
from arrow_ingest.lake.tables import migrate
from arrow_ingest.maintenance_settings import Step
from arrow_ingest.pipeline import interventions
from arrow_ingest.pipeline.drain import drain
from arrow_ingest.pipeline.drop import drop
from arrow_ingest.pipeline.rebuild import rebuild
from arrow_ingest.pipeline.rebuild_choice import these
from arrow_ingest.pipeline.relayout import apply_lanes
from arrow_ingest.pipeline.replay import replay
from arrow_ingest_tests.repairs import DAY

DONE = "done"
DELETE = "DELETE FROM lake.main.events WHERE _kafka_offset = 0 AND _kafka_row < 5"
"""What somebody might delete by hand: a part of files."""

SKIPPED = 4
"""The first offset of partition 0 that is pending: `resume` gives it up."""


class StepFailed(Exception):
    """A step of maintenance says so in its report."""


def ingest(config: PipelineConfig) -> None:
    """Drain what is pending."""
    for _ in drain(config, run_id="cut"):
        pass


def replay_all(config: PipelineConfig) -> None:
    """Replay every dead letter."""
    replay(config, Wanted(), run_id="cut", wait_seconds=10)


def rebuild_day(config: PipelineConfig) -> None:
    """Rebuild one of three days."""
    for _ in rebuild(config, these([DAY]), run_id="cut", wait_seconds=10):
        pass


def delete_by_hand(config: PipelineConfig) -> None:
    """What no command of ours does: DuckLake writes a file of deletions, in the transaction."""
    with open_lake(config.lake) as lake, lake.transaction():
        lake.execute(DELETE)


def tidy(step: Step, config: PipelineConfig) -> None:
    """One step of maintenance, as if all were old."""
    later = datetime.now(UTC) + timedelta(days=40)
    for report in maintain(config, run_id="cut", now=later, only=[step]).steps:
        if report.outcome is Outcome.FAILED:
            raise StepFailed(report.says)


def resume(config: PipelineConfig) -> None:
    """An operator has the suspended lane go on behind a record, which the ledger calls a gap."""
    interventions.resume(config, 0, run_id="cut", accept_loss=True, skip_to={0: SKIPPED + 1})


def rebase(config: PipelineConfig) -> None:
    """An operator begins a new generation. Asked again after it was done, it says that there is nothing to rebase."""
    with suppress(NothingToRebase):
        interventions.rebase(config, 0, run_id="cut")


def apply_two_lanes(config: PipelineConfig) -> None:
    """The YAML's two lanes instead of one."""
    apply_lanes(config.model_copy(update={"lanes": 2}), run_id="cut", wait_seconds=10)


def drop_all(config: PipelineConfig) -> None:
    """The pipeline with its table."""
    drop(config, keep_table=False, run_id="cut", wait_seconds=10)


def migrate_tables(config: PipelineConfig) -> None:
    """The lake's own tables to this version's layout."""
    with open_lake(config.lake) as lake:
        migrate(lake)


OPERATIONS: Mapping[str, Callable[[PipelineConfig], None]] = {
    "ingest": ingest,
    "replay": replay_all,
    "rebuild": rebuild_day,
    **{step.value: partial(tidy, step) for step in Step},
    "resume": resume,
    "rebase": rebase,
    "lanes_apply": apply_two_lanes,
    "drop": drop_all,
    "migrate": migrate_tables,
    "delete_by_hand": delete_by_hand,
}


def main() -> None:
    """Serve one operation after the other."""
    for line in sys.stdin:
        name, settings = json.loads(line)
        try:
            OPERATIONS[name](PipelineConfig.model_validate(settings))
        except (ArrowIngestError, StepFailed) as error:
            print(f"{type(error).__name__}: {' '.join(str(error).split())}", flush=True)
        else:
            print(DONE, flush=True)


if __name__ == "__main__":
    main()
