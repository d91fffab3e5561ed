"""The demo itself: produce, let the sensor's runs commit, watch, verify, sum up."""

import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from arrow_ingest.demo.dagster_dev import is_serving
from arrow_ingest.demo.figures import Committed, DemoReport, committed, count_rows
from arrow_ingest.demo.live import Scene, View
from arrow_ingest.demo.production import Production, producing
from arrow_ingest.demo.stage import Stage, staged
from arrow_ingest.errors import TerminalError
from arrow_ingest.kafka.cluster import Cluster
from arrow_ingest.lake.catalog import catalog_of
from arrow_ingest.lake.session import open_lake
from arrow_ingest.lake.verify import verify
from arrow_ingest.producer.events import EventGenerator
from arrow_ingest.values import TopicState

LOOK_SECONDS = 1.0
FIRST_RUN_SECONDS = 90.0
"""After this long without a commit something is wrong, and the log says what."""

MAX_DEATHS = 5
"""How often Dagster may end before the demo gives up."""

RATE_WINDOW = 10
"""Looks over which rows per second are averaged."""


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What the command line asked for. ``once``: end when all ``batches`` are committed and published."""

    folder: Path
    batches: int | None
    rows_per_batch: int
    batches_per_second: float
    days: int
    seed: int
    once: bool
    timeout_seconds: float


class DemoFailed(TerminalError):
    """The demo did not come to its end; the message says which log to read."""


def run_demo(options: DemoOptions, view: View, stop: threading.Event) -> DemoReport:
    """Run until ``stop`` is set (or, with ``once``, until everything is committed), then verify and sum up.

    Raises:
        DemoFailed: Dagster ended or the deadline passed before everything was committed.
        DemoRunning, MissingPart: nothing was started.
    """
    started = time.monotonic()
    with staged(options.folder, view) as stage:
        generator = EventGenerator(options.seed, now=datetime.now(UTC), days=options.days)
        with producing(
            stage.config.kafka,
            generator,
            batches=options.batches,
            rows=options.rows_per_batch,
            batches_per_second=options.batches_per_second,
        ) as production:
            watch = _Watch(stage, production, view, options)
            watch.until(stop, deadline=started + options.timeout_seconds)
        return watch.report(seconds=time.monotonic() - started)


class _Watch:
    """Looks at the stage once a second and shows what it sees."""

    def __init__(self, stage: Stage, production: Production, view: View, options: DemoOptions) -> None:
        self._stage = stage
        self._production = production
        self._view = view
        self._options = options
        self._state = stage.state
        self._started_at = time.monotonic()
        self._runs_before = self._state.runs()
        self._seen: deque[tuple[float, int]] = deque(maxlen=RATE_WINDOW)

    def until(self, stop: threading.Event, *, deadline: float) -> None:
        """Show scenes until told to stop; with ``once`` until everything is committed and published."""
        while not stop.is_set():
            now, topic = self._look()
            self._view.show(self._scene(now, topic))
            if self._options.once and self._is_done(now, topic):
                return
            self._check(deadline)
            stop.wait(LOOK_SECONDS)

    def report(self, *, seconds: float) -> DemoReport:
        """Verify over the whole history, count the rows in a process of its own, and sum up."""
        stage = self._stage
        now, topic = self._look()
        is_verified = not catalog_of(stage.config.lake).exists() or self._verify()
        lag = now.lag(topic)
        return DemoReport(
            produced_rows=self._production.acknowledged.rows,
            committed_rows=count_rows(stage.environ, stage.config.lake.table) if now.last_snapshot else 0,
            dead_letters=now.dead_letters,
            lag=sum(lag.values()),
            lag_by_partition={str(partition): behind for partition, behind in lag.items()},
            files=now.files,
            partitions=len(self._state.materialised()),
            snapshots=now.snapshots,
            runs=self._state.runs() - self._runs_before,
            seconds=round(seconds, 1),
            bytes_received=now.bytes_received,
            bytes_copied=now.bytes_copied,
            bytes_on_disk=now.bytes_on_disk,
            compression_ratio=round(now.bytes_received / now.bytes_on_disk, 2) if now.bytes_on_disk else 0.0,
            verify=is_verified,
        )

    def _verify(self) -> bool:
        self._view.say("verifying …")
        config = self._stage.config
        with Cluster(config.kafka) as cluster, open_lake(config.lake, read_only=True) as lake:
            verified = verify(lake, config, topic=cluster.topic_state, full=True)
        for finding in verified.findings:
            self._view.say(f"verify: {finding.code}: {finding.detail}")
        return verified.ok

    def _look(self) -> tuple[Committed, TopicState]:
        with Cluster(self._stage.config.kafka) as cluster:
            topic = cluster.topic_state()
        return committed(self._stage.config, since=self._stage.since), topic

    def _scene(self, now: Committed, topic: TopicState) -> Scene:
        self._seen.append((time.monotonic(), now.rows))
        (first_at, first_rows), (last_at, last_rows) = self._seen[0], self._seen[-1]
        return Scene(
            phase=self._phase(now),
            produced_rows=self._production.acknowledged.rows,
            committed_rows=now.rows,
            lag=sum(now.lag(topic).values()),
            rows_per_second=(last_rows - first_rows) / (last_at - first_at) if last_at > first_at else 0.0,
            files=now.files,
            last_snapshot=now.last_snapshot or None,
            address=self._stage.dagster.address,
        )

    def _phase(self, now: Committed) -> str:
        if now.rows:
            return "ingesting"
        if not is_serving(self._stage.dagster.port):
            return "Dagster starts"
        if time.monotonic() - self._started_at < FIRST_RUN_SECONDS:
            return "first run starts"
        return f"still no commit: see {self._stage.dagster.log_file}"

    def _is_done(self, now: Committed, topic: TopicState) -> bool:
        """Whether all that was acknowledged is committed, and Dagster lists every table partition that it touched."""
        if not self._production.is_over or any(now.lag(topic).values()):
            return False
        return now.partitions <= self._state.materialised()

    def _check(self, deadline: float) -> None:
        if self._production.failure is not None:
            raise DemoFailed(f"the producer failed: {self._production.failure}") from self._production.failure
        dagster = self._stage.dagster
        if (exit_code := dagster.revive()) is not None:
            self._view.say(f"Dagster ended with exit code {exit_code} and is started again: see {dagster.log_file}")
        if dagster.deaths > MAX_DEATHS:
            raise DemoFailed(f"Dagster ended {dagster.deaths} times: see {dagster.log_file}")
        if self._options.once and time.monotonic() > deadline:
            limit = self._options.timeout_seconds
            raise DemoFailed(f"not everything was committed within {limit:.0f} s: see {dagster.log_file}")


def sentences(report: DemoReport, folder: Path) -> Iterator[str]:
    """The summary for people."""
    outcome = "nothing lost, nothing twice" if report.verify else "FINDINGS, see above"
    yield (
        f"{report.committed_rows:,} rows in the table; {report.produced_rows:,} produced by this demo, "
        f"lag {report.lag}, {report.dead_letters} dead letters"
    )
    yield (
        f"{report.snapshots} snapshots by {report.runs} runs in {report.seconds:.0f} s, {report.files} files, "
        f"{report.partitions} days materialised in Dagster"
    )
    yield (
        f"{report.bytes_received:,} bytes received, {report.bytes_copied:,} copied, {report.bytes_on_disk:,} on disk "
        f"(1 : {report.compression_ratio})"
    )
    yield f"verify: {outcome}. The lake stays in {folder}"
