"""Maintenance killed, cut off from its catalog, and beside lanes that commit: nothing lost, nothing twice."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from arrow_ingest.config import PipelineConfig
from arrow_ingest.lake.commit import Committer
from arrow_ingest.lake.lanes import read_lanes
from arrow_ingest.lake.maintenance.report import Outcome
from arrow_ingest.lake.maintenance.run import maintain
from arrow_ingest.lake.maintenance.work import Place
from arrow_ingest.lake.session import open_lake
from arrow_ingest.lake.verify import verify
from arrow_ingest.maintenance_settings import Step
from arrow_ingest.stack.postgres import PostgresServer
from arrow_ingest_tests.drained_lake import ROWS, TABLE, Drained
from arrow_ingest_tests.postgres_proxy import Fault, PostgresProxy
from arrow_ingest_tests.test_maintenance import LATER, maintained, orphan, rows, tidied

COMMIT = """
import json, sys
from pathlib import Path
from arrow_ingest.config import PipelineConfig
from arrow_ingest.lake.commit import Committer
from arrow_ingest_tests.drained_lake import Drained
config, lane, layout = PipelineConfig.model_validate(json.loads(sys.argv[1])), int(sys.argv[2]), int(sys.argv[3])
drained = Drained(Path(), config, lane=lane, layout=layout, partitions=(lane, lane + layout))
with drained.lake, Committer(config.lake) as drained.committer:
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(int(sys.argv[4])):
        drained.commit(1, dead=number % 2)
        print(number, flush=True)
"""


@pytest.fixture
def drained(tmp_path: Path, catalog: str) -> Iterator[Drained]:
    with few_commits(tmp_path, catalog) as lane:
        yield lane


@contextmanager
def few_commits(tmp_path: Path, catalog: str) -> Iterator[Drained]:
    """A lane of a few small commits, with something to do for every step."""
    config = tidied(tmp_path, catalog, rotate_after=2, ledger={"volume_commits": 2})
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


@pytest.mark.parametrize("step", Step)
def test_a_kill_at_any_place_of_a_step_loses_nothing(drained: Drained, step: Step) -> None:
    prepare(drained, step)
    before = rows(drained.lake)
    for place in Place:
        killed = in_a_process(drained.config, step, place)
        # Orphans are removed one by one, without a transaction.
        assert killed == -signal.SIGKILL or (step, place) == (Step.ORPHANS, Place.COMMITTED)
        assert rows(drained.lake) == before
        assert drained.verify(full=True).ok
    maintained(drained.config)
    drained.commit(1)
    assert rows(drained.lake).num_rows == before.num_rows + 2 * ROWS
    assert drained.verify(full=True).ok


def prepare(drained: Drained, step: Step) -> None:
    """Give a step something to do, as the steps before it would."""
    if step is Step.REWRITE:
        drained.damage(f"DELETE FROM {TABLE} WHERE n = 5")
    elif step is Step.ORPHANS:
        for number in range(3):
            orphan(drained, f"lane-0-{number}-0.parquet", days=8)
    elif step is Step.CLEAN_UP:
        maintained(drained.config, Step.MERGE, Step.EXPIRE)


@pytest.mark.postgres
@pytest.mark.parametrize("fault", [Fault.COMMIT_LOST, Fault.ANSWER_LOST])
@pytest.mark.parametrize("step", [Step.MERGE, Step.REWRITE])
def test_a_lost_commit_or_answer_takes_no_file_away(
    tmp_path: Path, postgres: PostgresServer, step: Step, fault: Fault
) -> None:
    database = postgres.new_database()
    with few_commits(tmp_path, f"postgres:{database}") as drained:
        prepare(drained, step)
        before = rows(drained.lake)
        with PostgresProxy(postgres.port, fault) as proxy:
            through = f"postgres:{database.replace(f'port={postgres.port}', f'port={proxy.port}')}"
            lake = drained.config.lake.model_copy(update={"catalog": through})
            cut_off = drained.config.model_copy(update={"lake": lake})
            report = maintain(cut_off, run_id="cut-off", now=LATER, only=[step])
            assert proxy.happened.is_set()
        assert {found.outcome for found in report.steps} == {Outcome.FAILED}
        for _ in range(2):
            assert rows(drained.lake) == before
            assert drained.verify(full=True).ok
            maintained(drained.config)


def test_maintenance_beside_two_lanes_is_exactly_once(tmp_path: Path) -> None:
    commit_beside_maintenance(tmp_path, f"sqlite:{tmp_path / 'catalog.sqlite'}", lanes=2)


@pytest.mark.postgres
def test_maintenance_beside_four_lanes_on_postgresql_is_exactly_once(tmp_path: Path, postgres: PostgresServer) -> None:
    commit_beside_maintenance(tmp_path, f"postgres:{postgres.new_database()}", lanes=4)


def commit_beside_maintenance(tmp_path: Path, catalog: str, *, lanes: int, commits: int = 12) -> None:
    """Each lane in a process of its own. They hold no lane lock, so that every step meets their commits."""
    config = tidied(tmp_path, catalog, rotate_after=2, ledger={"volume_commits": 3})
    settings = json.dumps(config.model_dump(mode="json", by_alias=True))
    children = [
        subprocess.Popen(
            [sys.executable, "-c", COMMIT, settings, str(lane), str(lanes), str(commits)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for lane in range(lanes)
    ]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n", child.communicate()
    for child in children:
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
    rounds = 0
    while any(child.poll() is None for child in children):
        maintain(config, run_id=f"round {rounds}", now=LATER, only=list(Step))
        rounds += 1
        time.sleep(0.1)
    for child in children:
        out, err = child.communicate(timeout=60)
        assert child.returncode == 0, err
        assert out.split()[-1] == str(commits - 1)
    assert rounds > 1
    for _ in range(2):
        maintained(config)
    with open_lake(config.lake, read_only=True) as lake:
        report = verify(lake, config, full=True, strict=True)
        assert report.findings == ()
        assert report.numbers["rows"] == lanes * commits * 2 * ROWS
        assert report.numbers["commits"] == lanes * commits
        assert len(read_lanes(lake, "events")) == lanes
