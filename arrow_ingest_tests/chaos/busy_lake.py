"""A lake that two lanes write to and maintenance tidies up, each in a process of its own that can be killed."""

import json
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from arrow_ingest.config import PipelineConfig
from arrow_ingest.kafka.cluster import Cluster
from arrow_ingest.lake.findings import VerifyReport
from arrow_ingest.lake.session import open_lake
from arrow_ingest.lake.verify import verify
from arrow_ingest.pipeline.drain import drain
from arrow_ingest.producer.events import EventGenerator
from arrow_ingest_tests.chaos import busy_process
from arrow_ingest_tests.lake_contents import expected_rows, found_rows, pipeline, produce

LANES = 2
ROWS = 10
PROCESSES: Mapping[str, tuple[str, str]] = {
    "lane 0": ("lane", "0"),
    "lane 1": ("lane", "1"),
    "maintenance": ("maintenance", "0"),
}
PATIENCE_SECONDS = 120.0

_EAGER: Mapping[str, Any] = {
    "rotate_after": 5,
    "lock_wait_seconds": 1,
    "merge": {"min_files": 1},
    "snapshots": {"keep_count": 5},
    "ledger": {"volume_commits": 5},
}


def busy_pipeline(folder: Path, bootstrap_servers: str, topic: str, catalog: str) -> PipelineConfig:
    """A pipeline of small commits and short runs, tidied as if it were large."""
    return pipeline(
        folder,
        bootstrap_servers,
        topic,
        catalog=catalog,
        lanes=LANES,
        flush={"max_bytes": "20KiB", "max_age_seconds": 1},
        run={"until": "deadline", "max_run_seconds": 10, "linger_seconds": 2},
        maintenance=dict(_EAGER),
    )


@dataclass
class BusyLake:
    """Its processes, and what they say.

    Args:
        folder: gets what they complain of.
        lines: settings of processes that reach the catalog another way.
    """

    config: PipelineConfig
    generator: EventGenerator
    folder: Path
    lines: Mapping[str, PipelineConfig] = field(default_factory=dict)
    sent: int = 0
    said: dict[str, Counter[str]] = field(default_factory=lambda: {name: Counter() for name in PROCESSES})
    _children: dict[str, "subprocess.Popen[str]"] = field(default_factory=dict)
    _news: threading.Condition = field(default_factory=lambda: threading.Condition(threading.RLock()))

    @contextmanager
    def running(self) -> Iterator[None]:
        """All processes, for the block; at its end they are asked to end.

        Raises:
            AssertionError: one of them did not, or ended before, with an error that nobody made it meet.
        """
        try:
            for name in PROCESSES:
                self._start(name)
            yield
            for child in self._children.values():
                assert child.stdin is not None
                child.stdin.close()
            for name, child in self._children.items():
                assert child.wait(PATIENCE_SECONDS) == 0, f"{name}: {self.complaints(name)}"
        finally:
            for child in self._children.values():
                child.kill()
                child.wait()

    def send(self, messages: int) -> None:
        """Let the lanes have something to do."""
        produce(self.config, self.generator, range(self.sent, self.sent + messages), rows=ROWS)
        self.sent += messages

    def kill(self, name: str) -> None:
        """SIGKILL a process, and start it anew."""
        child = self._children[name]
        assert child.poll() is None, f"{name} has ended: {self.complaints(name)}"
        child.kill()
        child.wait()
        self._start(name)

    def process_id(self, name: str) -> int:
        """Of the process as it runs now."""
        return self._children[name].pid

    def start_what_died(self) -> int:
        """Start processes anew that a signal of their own ended, as DuckDB's may amid a lost connection; how many.

        Raises:
            AssertionError: one ended otherwise.
        """
        ended = {name: child.returncode for name, child in self._children.items() if child.poll() is not None}
        for name, code in ended.items():
            assert -code in (signal.SIGABRT, signal.SIGSEGV), f"{name} ended with {code}: {self.complaints(name)}"
            self._start(name)
        return len(ended)

    def count(self, name: str, beginning: str) -> int:
        """How often a process has said something so far."""
        with self._news:
            return sum(number for line, number in self.said[name].items() if line.startswith(beginning))

    def wait_until_it_says(self, name: str, beginning: str, *, after: int) -> None:
        """Return once it has said so more often than it had at some time before."""
        with self._news:
            is_said = self._news.wait_for(lambda: self.count(name, beginning) > after, PATIENCE_SECONDS)
        assert is_said, f"{name} says {dict(self.said[name])}; {self.complaints(name)}"

    def complaints(self, name: str) -> str:
        """The end of what a process wrote to its standard error."""
        return self._log(name).read_text()[-2_000:]

    def drain_the_rest(self) -> None:
        """Read to the end of the log, in this process."""
        to_the_end = self.config.model_copy(update={"run": self.config.run.model_copy(update={"until": "caught_up"})})
        for lane in range(LANES):
            for _ in drain(to_the_end, lane=lane, run_id="the rest"):
                pass

    def verified(self) -> VerifyReport:
        """What `verify` finds over the whole history."""
        with Cluster(self.config.kafka) as cluster, open_lake(self.config.lake, read_only=True) as lake:
            return verify(lake, self.config, topic=cluster.topic_state, full=True)

    def damage(self) -> dict[str, int]:
        """Rows that are missing and rows that should not be there, by place and value."""
        found, expected = Counter(found_rows(self.config)), Counter(expected_rows(self.generator, self.sent, rows=ROWS))
        return {"lost": (expected - found).total(), "duplicated": (found - expected).total()}

    def _start(self, name: str) -> None:
        config = self.lines.get(name, self.config)
        settings = json.dumps(config.model_dump(mode="json", by_alias=True))
        with self._log(name).open("a") as log:
            child = subprocess.Popen(
                [sys.executable, "-m", busy_process.__name__, *PROCESSES[name], settings],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self._children[name] = child
        assert child.stdout is not None
        threading.Thread(target=self._listen, args=(name, child.stdout), daemon=True).start()

    def _listen(self, name: str, stream: IO[str]) -> None:
        for line in stream:
            with self._news:
                self.said[name][line.strip()] += 1
                self._news.notify_all()

    def _log(self, name: str) -> Path:
        return self.folder / f"{name.replace(' ', '-')}.log"
