"""The line to PostgreSQL cut before or after the answer to a statement, of all that writes to a lake: once, or not."""

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from arrow_ingest.config import PipelineConfig
from arrow_ingest.demo.broker import EmbeddedBroker
from arrow_ingest.lake.findings import Code
from arrow_ingest.producer.events import EventGenerator
from arrow_ingest.stack.postgres import PostgresServer
from arrow_ingest.stack.s3 import S3Server
from arrow_ingest_tests.chaos.cut_lake import (
    DEAD,
    EARLY,
    LATE,
    PENDING,
    TIDIED,
    CutLake,
    Held,
    Subject,
    through,
    wait_for_sessions,
)
from arrow_ingest_tests.chaos.cut_operations import DONE
from arrow_ingest_tests.chaos.cut_states import FOUND, OUTCOMES, State
from arrow_ingest_tests.chaos.cutting_proxy import Cut, CuttingProxy, Passage, Side
from arrow_ingest_tests.chaos.scoreboard import Score
from arrow_ingest_tests.conftest import new_topic
from arrow_ingest_tests.lake_contents import PARTITIONS, pipeline
from arrow_ingest_tests.worlds import variables_of_s3

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(3_600)]

SAMPLED = 1
"""Statements beside the COMMITs that the first seed cuts, of each operation."""

TOLD = ("CatalogUnavailable", "CommitConflict", "LaneLockLost", "OutcomeUnknown", "StepFailed", "died of")
"""How an operation may end: with what says that trying again is right. DuckDB may end the process (FACTS)."""

NOT_DONE = ("CatalogUnavailable", "CommitConflict", "LaneLockLost")
"""Of those, what says that nothing was changed."""

BY_HAND = "delete_by_hand"

SHARDS = 10
"""Seeds 1 and 2 cut every statement that writes, seeds 3 to 22 share those that read; the odd ones on S3."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What an operation makes of the messages.

    Args:
        records: rows that it appends to the ledger; None: it may take some out, or sum them up.
        state: of the lake that it is done to.
        is_done_again: who asks for it once it is done gets it once more, to the same rows.
        is_asked_again: of a lost answer it says no more than that the catalog is away; it may be done, and whoever asks
            again finds it so.
    """

    adds: tuple[range, ...] = ()
    records: int | None = None
    state: State = State.FILLED
    is_done_again: bool = False
    is_asked_again: bool = False

    @property
    def has_deletions(self) -> bool:
        """Whether some rows were deleted by hand before."""
        return self.state is State.DELETED


KINDS: Mapping[str, Kind] = {
    "ingest": Kind(adds=(PENDING,), records=1),
    "replay": Kind(adds=(DEAD,), records=1),
    "rebuild": Kind(records=1, is_done_again=True),
    "rotate": Kind(records=0),
    "roll_up": Kind(),
    "merge": Kind(records=0),
    "rewrite": Kind(records=0, state=State.DELETED),
    "letters": Kind(records=0),
    "expire": Kind(state=State.DELETED, records=0),
    "clean_up": Kind(records=0, state=State.MERGED),
    "orphans": Kind(records=0),
    "resume": Kind(records=1, state=State.SUSPENDED, is_asked_again=True),
    "rebase": Kind(records=1, state=State.MADE_AGAIN, is_asked_again=True),
    "lanes_apply": Kind(records=1, is_asked_again=True),
    "migrate": Kind(records=0, state=State.OLD_LAYOUT, is_asked_again=True),
    "drop": Kind(is_asked_again=True),
}


@pytest.fixture(scope="module")
def proxy(postgres: PostgresServer) -> Iterator[CuttingProxy]:
    with CuttingProxy(postgres.port) as running:
        yield running


@pytest.fixture(scope="module")
def local(
    tmp_path_factory: pytest.TempPathFactory, broker: EmbeddedBroker, postgres: PostgresServer
) -> Iterator[CutLake]:
    """A filled lake over local files, for all tests of a process."""
    folder = tmp_path_factory.mktemp("local")
    with filled(folder, broker, postgres, str(folder / "data"), folder / "data") as lake:
        yield lake


@pytest.fixture(scope="module")
def on_s3(
    tmp_path_factory: pytest.TempPathFactory, broker: EmbeddedBroker, postgres: PostgresServer, s3: S3Server
) -> Iterator[CutLake]:
    """The same over a bucket, by a key that may delete: what could be taken away by mistake can be."""
    folder, bucket = tmp_path_factory.mktemp("s3"), s3.new_bucket()
    with pytest.MonkeyPatch.context() as environment:
        variables_of_s3(environment, s3.environ(s3.maintenance))
        with filled(folder, broker, postgres, f"s3://{bucket}/lake/", s3.data / bucket / "lake") as lake:
            yield lake


@pytest.fixture
def lake(seed: int, request: pytest.FixtureRequest) -> CutLake:
    """The one of the seed; the first seed, which is CI's, needs no S3 server."""
    found = request.getfixturevalue("on_s3" if is_on_s3(seed) else "local")
    assert isinstance(found, CutLake)
    return found


@contextmanager
def filled(
    folder: Path, broker: EmbeddedBroker, postgres: PostgresServer, data_path: str, files_root: Path
) -> Iterator[CutLake]:
    config = pipeline(
        folder,
        broker.bootstrap_servers,
        new_topic(broker.bootstrap_servers, PARTITIONS),
        catalog=f"postgres:{postgres.new_database()}",
        data_path=data_path,
        maintenance=TIDIED,
        dead_letters={"keep_days": 1},
    )
    generator = EventGenerator(seed=7, now=datetime(2026, 11, 20, 12, tzinfo=UTC), days=3)
    with Subject(folder / "stderr.log") as subject:
        lake = CutLake(postgres, config, generator, files_root, folder / "kept", subject)
        lake.fill()
        yield lake


def is_on_s3(seed: int) -> bool:
    return seed % 2 == 1


def chosen(passage: Passage, seed: int, name: str) -> Sequence[Cut]:
    """The first seed takes the last COMMIT, before and after, and another place; the others share all (`SHARDS`)."""
    places = passage.places()
    if seed == 0:
        others = [place for place in places if not place.is_commit]
        chance = random.Random(f"unknown outcomes/{name}")
        commits = [place for place in places if place.is_commit][-1:]  # none, where only files are removed
        at_commits = [place.cut(side) for place in commits for side in Side]
        sampled = chance.sample(others, SAMPLED)
        return [
            *at_commits,
            *(place.cut(chance.choice(tuple(Side)), stays_away=chance.random() < 0.5) for place in sampled),
        ]
    shard = (seed - 1) // 2
    wanted = [place for place in places if place.writes is (shard == 0)]
    every = [place.cut(side, stays_away=away) for place in wanted for side in Side for away in (False, True)]
    return every if shard == 0 else every[(shard - 1) % SHARDS :: SHARDS]


@dataclass
class Trial:
    """One operation over copies of one lake.

    Args:
        told: of each cut, what became of the operation.
    """

    lake: CutLake
    name: str
    kind: Kind
    proxy: CuttingProxy
    commits: int = 0
    told: list[str] = field(default_factory=list)
    damage: Counter[str] = field(default_factory=Counter)

    def scouted(self) -> Passage:
        """What it asks the server where nothing is cut."""
        with self.lake.copy(self.kind.state) as copy:
            self.commits = self.lake.commits(self.kind.state)
            with self.proxy.passage() as passage:
                assert self.lake.subject.does(self.name, through(copy, self.proxy.port)) == DONE
            self.check_done(copy)
        return passage

    def cut(self, cut: Cut) -> None:
        """Do it with the line cut, look, and let the next run finish it.

        DuckLake asks some questions now more often, now less: where one was not asked so often, the last time counts.
        """
        with self.lake.copy(self.kind.state) as copy:
            with self.proxy.passage(cut) as passage:
                said = self.lake.subject.does(self.name, through(copy, self.proxy.port))
            if passage.happened.is_set():
                self.told.append(f"{cut}: {said[:300]}")
                wait_for_sessions(copy)
                times = 1
                if said != DONE:
                    is_done = self.check_whole(copy, said)
                    assert self.lake.subject.does(self.name, copy) == DONE
                    times += is_done and self.kind.is_done_again
                self.check_done(copy, times=times)
                return
        assert said == DONE
        assert cut.occurrence > 1, [asked.says for asked in passage.requests if asked.says[-60:] == cut.request[-60:]]
        self.cut(replace(cut, occurrence=cut.occurrence - 1))

    def check_whole(self, copy: PipelineConfig, said: str) -> bool:
        """It is done, or not, and whole either way; and not done, where that is what it says. Whether it is done."""
        held = self.lake.held(copy, self.name)
        is_done = held.commits > self.commits if held.is_done is None else held.is_done
        assert said.startswith(TOLD), "somebody would look for the wrong thing"
        assert self.kind.is_asked_again or not (is_done and said.startswith(NOT_DONE)), "but it is done"
        if is_done:
            self.check_done(copy, held)
        else:
            assert held.errors == FOUND.get(self.kind.state, frozenset()), held.report.findings
            self.compare(held.rows)
        return is_done

    def check_done(self, copy: PipelineConfig, held: Held | None = None, *, times: int = 1) -> None:
        """It is done, and once."""
        held = held or self.lake.held(copy, self.name)
        assert held.report.ok, held.report.findings
        assert held.is_done in (None, True)
        if self.name in OUTCOMES and not OUTCOMES[self.name].leaves_lake:
            return
        self.compare(held.rows, *self.kind.adds)
        assert self.kind.records is None or held.commits == self.commits + times * self.kind.records

    def compare(self, found: Counter[tuple[Any, ...]], *added: range) -> None:
        wanted = self.lake.rows(EARLY, LATE, *added, deleted=self.kind.has_deletions)
        damage = {"lost": (wanted - found).total(), "duplicated": (found - wanted).total()}
        self.damage.update(damage)
        assert damage == {"lost": 0, "duplicated": 0}
        assert self.lake.strangers() == []


@pytest.mark.parametrize("name", KINDS)
def test_what_is_cut_off_is_done_once_or_not_at_all(
    name: str, seed: int, lake: CutLake, proxy: CuttingProxy, score: Score
) -> None:
    trial = Trial(lake, name, KINDS[name], proxy)
    failed = []
    for cut in chosen(trial.scouted(), seed, name):
        try:
            trial.cut(cut)
        except AssertionError as failure:
            failed.append(f"{cut}: {trial.told[-1:]}: {failure}")
    score(unknown_outcomes=len(trial.told), **trial.damage)
    print(name, *trial.told, sep="\n")
    assert not failed, "\n".join(failed)


def test_a_deletion_by_hand_that_is_cut_off_is_whole_or_told(
    seed: int, lake: CutLake, proxy: CuttingProxy, score: Score
) -> None:
    """DuckLake's own statement, and no command of ours: its rollback removes a file that the snapshot may need."""
    with lake.copy() as copy, proxy.passage() as scouted:
        assert lake.subject.does(BY_HAND, through(copy, proxy.port)) == DONE
    [place] = [place for place in scouted.places() if place.is_commit]
    silent = 0
    for side in Side:
        with lake.copy() as copy:
            with proxy.passage(place.cut(side)) as passage:
                said = lake.subject.does(BY_HAND, through(copy, proxy.port))
            assert passage.happened.is_set()
            assert said.startswith("CatalogUnavailable")
            wait_for_sessions(copy)
            held = lake.held(copy)
            is_told = {found.code for found in held.report.findings} == {Code.FILE_MISSING}
            silent += not is_told and not (held.report.ok and held.rows == lake.rows(EARLY, LATE))
    score(unknown_outcomes=len(Side), silent=silent)
    assert silent == 0
