"""A lake in PostgreSQL made once, a copy of its catalog for each cut: what it holds then, and may hold.

The copies share files and topic. What removes files, or loses one, finds them there again by the next copy.
"""

import json
import os
import select
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from arrow_ingest.config import PipelineConfig
from arrow_ingest.kafka.cluster import Cluster
from arrow_ingest.lake import ledger
from arrow_ingest.lake.findings import Code, Severity, VerifyReport
from arrow_ingest.lake.maintenance.orphans import is_ours
from arrow_ingest.lake.session import open_lake
from arrow_ingest.lake.verify import verify
from arrow_ingest.maintenance_settings import Step
from arrow_ingest.producer.events import EventGenerator
from arrow_ingest.stack.postgres import PostgresServer
from arrow_ingest_tests.chaos import cut_operations
from arrow_ingest_tests.chaos.cut_operations import tidy
from arrow_ingest_tests.chaos.cut_states import MADE, ORPHAN, OUTCOMES, State
from arrow_ingest_tests.lake_contents import PARTITIONS, drained, expected_rows, produce, rows_in
from arrow_ingest_tests.repairs import refusing

EARLY, DEAD, LATE, PENDING = range(4), range(4, 12), range(12, 16), range(16, 20)
"""Messages, as they were sent: before an operation two became rows, one dead letters, and one nothing yet."""

TIDIED: dict[str, Any] = {
    "rotate_after": 1,
    "lock_wait_seconds": 10,
    "merge": {"min_files": 1},
    "rewrite": {"min_deleted_share": 0.001},
    "snapshots": {"keep_count": 3},
    "ledger": {"volume_commits": 1},
}
ANSWER_SECONDS = 120.0
UNREADABLE = frozenset({Code.FILE_MISSING, Code.FILE_UNREADABLE})


_SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


@dataclass(frozen=True, slots=True)
class Held:
    """What a lake holds.

    Args:
        report: what `verify` says of it.
        rows: of its table; none, if that cannot be read.
        is_done: whether the operation was done, as far as something else than the ledger says it.
    """

    report: VerifyReport
    rows: Counter[tuple[Any, ...]]
    is_done: bool | None = None

    @property
    def commits(self) -> int:
        """Rows of its ledger."""
        return self.report.numbers["commits"]

    @property
    def errors(self) -> frozenset[Code]:
        """What `verify` found that should not be."""
        return frozenset(found.code for found in self.report.findings if found.severity is Severity.ERROR)


@dataclass
class CutLake:
    """The original and its copies.

    Args:
        config: of the original; its topic is empty.
        files_root: the local folder where the store's objects are files.
        kept: a folder on the same disk, for links to them.
        subject: the process that operates on the copies.
    """

    server: PostgresServer
    config: PipelineConfig
    generator: EventGenerator
    files_root: Path
    kept: Path
    subject: "Subject"
    _originals: dict[State, PipelineConfig] = field(default_factory=dict)
    _commits: dict[State, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._originals[State.FILLED] = self.config
        self._sent = expected_rows(self.generator, PENDING.stop)

    def fill(self) -> None:
        """Give every operation something to do."""
        for indices, taken_by in ((EARLY, self.config), (DEAD, refusing(self.config)), (LATE, self.config)):
            produce(self.config, self.generator, indices)
            drained(taken_by)
            if indices == DEAD:  # a table of the ledger is put aside, and how long snapshots are kept is written down
                tidy(Step.ROLL_UP, self.config)
                tidy(Step.EXPIRE, self.config)
        produce(self.config, self.generator, PENDING)
        folder = self.files_root / self.config.lake.schema_name / self.config.lake.table
        os.link(next(folder.rglob("lane-*.parquet")), folder / ORPHAN)
        link_all(self.files_root, self.kept)

    @contextmanager
    def copy(self, state: State = State.FILLED) -> Iterator[PipelineConfig]:
        """The pipeline over a copy of the catalog of a lake in some state, for the block."""
        if state not in self._originals:
            self._originals[state] = self._copied(self.config)
            MADE[state](self._originals[state])
            link_all(self.files_root, self.kept)
        link_all(self.kept, self.files_root)
        copied = self._copied(self._originals[state])
        try:
            yield copied
        finally:
            self.server.execute(f"DROP DATABASE {_database(copied)} WITH (FORCE)")

    def _copied(self, original: PipelineConfig) -> PipelineConfig:
        database = f"copy_{uuid.uuid4().hex}"
        wait_for_sessions(original)
        self.server.execute(f"CREATE DATABASE {database} TEMPLATE {_database(original)}")
        return with_catalog(original, self.server.dsn(database))

    def rows(self, *ranges: range, deleted: bool = False) -> Counter[tuple[Any, ...]]:
        """Each row of some messages: its place in the log, then its own values."""
        wanted = {(index % PARTITIONS, index // PARTITIONS) for indices in ranges for index in indices}
        return Counter(row for row in self._sent if row[1:3] in wanted and not (deleted and row[2] == 0 and row[3] < 5))

    def commits(self, state: State) -> int:
        """Rows of the ledger before anything is done."""
        if state not in self._commits:
            with open_lake(self._originals[state].lake, read_only=True) as lake:
                self._commits[state] = len(ledger.commits_since(lake, self.config.name, 0))
        return self._commits[state]

    def held(self, config: PipelineConfig, operation: str = "") -> Held:
        """What a copy holds, by one session; whether an operation that was tried on it is done."""
        outcome = OUTCOMES.get(operation)
        with Cluster(config.kafka) as cluster, open_lake(config.lake, read_only=True) as lake:
            is_done = outcome.is_done(lake, config) if outcome else None
            report = verify(lake, config, topic=cluster.topic_state, full=True)
            has_rows = not (is_done and outcome and not outcome.leaves_lake)
            held = Held(report, Counter(), is_done)
            return replace(held, rows=Counter(rows_in(lake))) if has_rows and not held.errors & UNREADABLE else held

    def strangers(self) -> list[Path]:
        """Files that orphan removal would not know for ours."""
        return [file for file in self.files_root.rglob("*.*") if file.is_file() and not is_ours(file.name)]


def link_all(source: Path, target: Path) -> None:
    """Give every file below a folder the same name below another one, where it is not there."""
    for file in source.rglob("*.*"):
        other = target / file.relative_to(source)
        if file.is_file() and not other.exists():
            other.parent.mkdir(parents=True, exist_ok=True)
            os.link(file, other)


def with_catalog(config: PipelineConfig, dsn: str) -> PipelineConfig:
    """The same pipeline over another catalog."""
    return config.model_copy(update={"lake": config.lake.model_copy(update={"catalog": f"postgres:{dsn}"})})


def through(config: PipelineConfig, port: int) -> PipelineConfig:
    """The same pipeline, its catalog reached by a proxy's port."""
    return with_catalog(config, make_conninfo(_dsn(config), port=port))


def wait_for_sessions(config: PipelineConfig) -> None:
    """Return once the server has ended all sessions of a catalog: one whose client is gone may still commit."""
    deadline = time.monotonic() + ANSWER_SECONDS
    with psycopg.connect(_dsn(config), autocommit=True) as connection:
        while connection.execute(_SESSIONS).fetchone() != (0,):
            assert time.monotonic() < deadline, "the server keeps sessions whose client is gone"
            time.sleep(0.02)


class Subject:
    """A process that writes; another one after it has died. A context manager."""

    def __init__(self, log_file: Path) -> None:
        self._log_file = log_file
        self._child: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.wait()

    def does(self, name: str, config: PipelineConfig) -> str:
        """What became of an operation: as `cut_operations` tells it, or ``died of`` a signal."""
        child = self._child or self._started()
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(json.dumps([name, config.model_dump(mode="json", by_alias=True)]) + "\n")
        child.stdin.flush()
        assert select.select([child.stdout], [], [], ANSWER_SECONDS)[0], f"{name} hangs: {self._log_file.read_text()}"
        said = child.stdout.readline().strip()
        if said:
            return said
        self._child = None
        return f"died of signal {-child.wait()}"

    def _started(self) -> "subprocess.Popen[str]":
        with self._log_file.open("a") as log:
            self._child = subprocess.Popen(
                [sys.executable, "-m", cut_operations.__name__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        return self._child


def _dsn(config: PipelineConfig) -> str:
    return config.lake.catalog.removeprefix("postgres:")


def _database(config: PipelineConfig) -> str:
    return str(conninfo_to_dict(_dsn(config))["dbname"])
