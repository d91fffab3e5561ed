"""Maintenance killed, and beside lanes that commit: nothing lost, nothing twice (`chaos/` cuts it off, too)."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from arrow_ingest.config import PipelineConfig
from arrow_ingest.lake.commit import Committer
from arrow_ingest.lake.lanes import read_lanes
from arrow_ingest.lake.maintenance.report import Outcome
from arrow_ingest.lake.maintenance.run import maintain
from arrow_ingest.lake.maintenance.work import Place
from arrow_ingest.lake.session import open_lake
from arrow_ingest.lake.verify import verify
from arrow_ingest.maintenance_settings import Step
from arrow_ingest.message_policy import DeadLetters
from arrow_ingest_tests.drained_lake import ROWS, TABLE, Drained
from arrow_ingest_tests.test_maintenance import LATER, maintained, orphan, rows, tidied

COMMIT = """
import json, select, sys
from itertools import count
from pathlib import Path
from arrow_ingest.config import PipelineConfig
from arrow_ingest.lake.commit import Committer
from arrow_ingest_tests.drained_lake import Drained
config, lane, layout = PipelineConfig.model_validate(json.loads(sys.argv[1])), int(sys.argv[2]), int(sys.argv[3])
drained = Drained(Path(), config, lane=lane, layout=layout, partitions=(lane, lane + layout))
with drained.lake, Committer(config.lake) as drained.committer:
    for number in count(1):
        drained.commit(1, dead=number % 2)
        print(number, flush=True)
        if select.select([sys.stdin], [], [], 0.2)[0]:
            break
"""


@contextmanager
def few_commits(tmp_path: Path, catalog: str) -> Iterator[Drained]:
    """A lane of a few small commits, with something to do for every step."""
    config = tidied(tmp_path, catalog, rotate_after=2, ledger={"volume_commits": 2}, lock_wait_seconds=10)
    config = config.model_copy(update={"dead_letters": DeadLetters(keep_days=1)})
    lane = Drained(tmp_path, config)
    with lane.lake, Committer(config.lake) as lane.committer:
        for number in range(4):
            lane.commit(1, dead=number % 2)
        yield lane


def in_a_process(config: PipelineConfig, step: Step, place: Place) -> int:
    settings = json.dumps(config.model_dump(mode="json", by_alias=True))
    command = [sys.executable, "-m", "arrow_ingest_tests.crash_maintenance", settings, LATER.isoformat(), step, place]
    done = subprocess.run(command, capture_output=True, text=True, timeout=170, check=False)
    assert done.returncode in (0, -signal.SIGKILL), (done.stdout, done.stderr)
    return done.returncode


def test_a_kill_at_any_place_of_a_step_loses_nothing(tmp_path: Path) -> None:
    """Before the COMMIT of every step, and after it; what each kill left undone the next process finds."""
    with few_commits(tmp_path, f"sqlite:{tmp_path / 'catalog.sqlite'}") as drained:
        prepare(drained)
        before = rows(drained.lake)
        for step in Step:
            for place in (Place.WRITTEN, Place.COMMITTED):
                killed = in_a_process(drained.config, step, place)
                # Orphans are removed one by one, without a transaction.
                assert killed == -signal.SIGKILL or (step, place) == (Step.ORPHANS, Place.COMMITTED)
            assert rows(drained.lake) == before
            maintained(drained.config, step)
        drained.commit(1)
        assert rows(drained.lake).num_rows == before.num_rows + 2 * ROWS
        assert drained.verify(full=True).ok


def prepare(drained: Drained) -> None:
    """Give every step something to do, and nothing else: how long snapshots are kept is written down already."""
    maintained(drained.config, Step.EXPIRE)
    drained.damage(f"DELETE FROM {TABLE} WHERE n = 5 AND _kafka_offset = 1")
    for number in range(3):
        orphan(drained, f"lane-0-{number}-0.parquet", days=8)


def test_maintenance_beside_two_lanes_is_exactly_once(tmp_path: Path) -> None:
    """Each lane in a process of its own; they hold no lane lock, so that every step meets their commits."""
    config = tidied(tmp_path, f"sqlite:{tmp_path / 'catalog.sqlite'}", rotate_after=2, ledger={"volume_commits": 3})
    settings, lanes = json.dumps(config.model_dump(mode="json", by_alias=True)), 2
    first = Drained(tmp_path, config, layout=lanes, partitions=(0, lanes))
    with first.lake:
        first.commit(1)  # makes the table, which two lanes cannot do at the same time without staging again
    children = [
        subprocess.Popen(
            [sys.executable, "-c", COMMIT, settings, str(lane), str(lanes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for lane in range(lanes)
    ]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "1\n", child.communicate()
    beside = [step for step in Step if step is not Step.ORPHANS]  # those go by the lanes' locks, and by age
    report = maintain(config, run_id="beside", now=LATER, only=beside)
    commits = 1
    for child in children:
        out, err = child.communicate("stop\n", timeout=60)
        assert child.returncode == 0, err
        commits += int(out.split()[-1])
    assert commits > 1 + lanes
    assert report.ok, report.steps
    assert {Step.MERGE, Step.EXPIRE} <= {step.step for step in report.steps if step.outcome is Outcome.DONE}
    with open_lake(config.lake, read_only=True) as lake:
        report = verify(lake, config, full=True, strict=True)
        assert report.findings == ()
        assert report.numbers["rows"] == commits * 2 * ROWS
        assert report.numbers["commits"] == commits
        assert len(read_lanes(lake, "events")) == lanes
