"""The demo itself: produce, let the sensor's runs commit, watch, verify, sum up."""

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime

from arrow_ingest.config import PipelineConfig
from arrow_ingest.demo.dagster_dev import is_serving
from arrow_ingest.demo.figures import DemoReport, Look, committed, count_rows, lag_by_partition
from arrow_ingest.demo.live import Scene, View
from arrow_ingest.demo.pipelines import SOURCES
from arrow_ingest.demo.production import Production, producing
from arrow_ingest.demo.stage import Setting, Stage, staged
from arrow_ingest.errors import TerminalError
from arrow_ingest.kafka.cluster import Cluster
from arrow_ingest.lake.catalog import catalog_of
from arrow_ingest.lake.session import open_lake
from arrow_ingest.lake.verify import verify

ONCE_SECONDS = 1.0
"""How often it is looked whether everything is committed; a look opens the lake."""

FIRST_RUN_SECONDS = 90.0
"""After this long without a commit something is wrong, and the log says what."""

MAX_DEATHS = 5
"""How often Dagster may end before the demo gives up."""

RATE_WINDOW = 10
"""Looks over which rows per second are averaged."""


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What the command line asked for, ``batches`` and rates for each pipeline.

    ``once``: end when all ``batches`` are committed and published.
    """

    batches: int | None
    rows_per_batch: int
    batches_per_second: float
    days: int
    seed: int
    once: bool
    timeout_seconds: float


class DemoFailed(TerminalError):
    """The demo did not come to its end; the message says which log to read."""


def run_demo(setting: Setting, options: DemoOptions, view: View, stop: threading.Event) -> DemoReport:
    """Run until ``stop`` is set (or, with ``once``, until everything is committed), then verify and sum up.

    Raises:
        DemoFailed: Dagster ended or the deadline passed before everything was committed.
        DemoRunning, MissingPart, StackFailed: the demo did not begin.
    """
    started = time.monotonic()
    with staged(setting, view) as stage:
        with ExitStack() as producers:
            productions = tuple(
                producers.enter_context(
                    producing(
                        actor.config.kafka,
                        SOURCES[actor.config.name](options.seed, datetime.now(UTC), options.days),
                        batches=options.batches,
                        rows=options.rows_per_batch,
                        batches_per_second=options.batches_per_second,
                    )
                )
                for actor in stage.actors
            )
            watch = _Watch(stage, productions, view, options)
            watch.until(stop, deadline=started + options.timeout_seconds)
        return watch.report(seconds=time.monotonic() - started)


class _Watch:
    """Looks at the stage every now and then and shows what it sees."""

    def __init__(self, stage: Stage, productions: Sequence[Production], view: View, options: DemoOptions) -> None:
        self._stage = stage
        self._productions = productions
        self._view = view
        self._options = options
        self._started_at = time.monotonic()
        self._runs_before = self._runs()
        self._seen: deque[tuple[float, int]] = deque(maxlen=RATE_WINDOW)

    def until(self, stop: threading.Event, *, deadline: float) -> None:
        """Show scenes until told to stop; with ``once`` until everything is committed and published."""
        while not stop.is_set():
            is_produced = all(production.is_over for production in self._productions)  # before the topics are looked at
            looks = self._look()
            self._view.show(self._scene(looks))
            if self._options.once and is_produced and self._is_done(looks):
                return
            self._check(deadline)
            stop.wait(ONCE_SECONDS if self._options.once else self._view.show_seconds)

    def report(self, *, seconds: float) -> DemoReport:
        """Verify over the whole history, count the rows in a process of its own, and sum up."""
        stage = self._stage
        looks = self._look()
        failed = [look.config.name for look in looks if not self._verify(look.config)]
        done = [look.committed for look in looks]
        received, on_disk = sum(now.bytes_received for now in done), sum(now.bytes_on_disk for now in done)
        counted = [
            count_rows(stage.environ, stage.project, look.config) for look in looks if look.committed.last_snapshot
        ]
        return DemoReport(
            produced_rows=self._produced_rows(),
            committed_rows=sum(counted),
            dead_letters=sum(now.dead_letters for now in done),
            lag=sum(look.lag for look in looks),
            lag_by_partition=lag_by_partition(looks),
            files=sum(now.files for now in done),
            partitions=sum(len(stage.state.materialised(look.config)) for look in looks),
            snapshots=sum(now.snapshots for now in done),
            runs=self._runs() - self._runs_before,
            seconds=round(seconds, 1),
            bytes_received=received,
            bytes_copied=sum(now.bytes_copied for now in done),
            bytes_on_disk=on_disk,
            compression_ratio=round(received / on_disk, 2) if on_disk else 0.0,
            verify=not failed,
        )

    def _verify(self, config: PipelineConfig) -> bool:
        if not catalog_of(config.lake).exists():
            return True
        self._view.say(f"verifying {config.name} …")
        with Cluster(config.kafka) as cluster, open_lake(config.lake, read_only=True) as lake:
            verified = verify(lake, config, topic=cluster.topic_state, full=True)
        for finding in verified.findings:
            self._view.say(f"verify: {finding.code}: {finding.detail}")
        return verified.ok

    def _look(self) -> tuple[Look, ...]:
        return tuple(self._look_at(actor.config, actor.since) for actor in self._stage.actors)

    def _look_at(self, config: PipelineConfig, since: int) -> Look:
        with Cluster(config.kafka) as cluster:
            topic = cluster.topic_state()
        return Look(config, committed(config, since=since), topic)

    def _runs(self) -> int:
        return sum(self._stage.state.runs(actor.config) for actor in self._stage.actors)

    def _produced_rows(self) -> int:
        return sum(production.acknowledged.rows for production in self._productions)

    def _scene(self, looks: Sequence[Look]) -> Scene:
        rows = sum(look.committed.rows for look in looks)
        self._seen.append((time.monotonic(), rows))
        (first_at, first_rows), (last_at, last_rows) = self._seen[0], self._seen[-1]
        return Scene(
            phase=self._phase(rows),
            produced_rows=self._produced_rows(),
            committed_rows=rows,
            lag=sum(look.lag for look in looks),
            rows_per_second=(last_rows - first_rows) / (last_at - first_at) if last_at > first_at else 0.0,
            files=sum(look.committed.files for look in looks),
            last_snapshot=max(look.committed.last_snapshot for look in looks) or None,
            address=self._stage.dagster.address,
        )

    def _phase(self, rows: int) -> str:
        if rows:
            return "ingesting"
        if not is_serving(self._stage.dagster.port):
            return "Dagster starts"
        if time.monotonic() - self._started_at < FIRST_RUN_SECONDS:
            return "first run starts"
        return f"still no commit: see {self._stage.dagster.log_file}"

    def _is_done(self, looks: Sequence[Look]) -> bool:
        """Whether all that the topics hold is committed, and Dagster lists every table partition that it touched."""
        if any(look.lag for look in looks):
            return False
        return all(look.committed.partitions <= self._stage.state.materialised(look.config) for look in looks)

    def _check(self, deadline: float) -> None:
        for production in self._productions:
            if production.failure is not None:
                raise DemoFailed(f"the producer failed: {production.failure}") from production.failure
        dagster = self._stage.dagster
        if (exit_code := dagster.revive()) is not None:
            self._view.say(f"Dagster ended with exit code {exit_code} and is started again: see {dagster.log_file}")
        if dagster.deaths > MAX_DEATHS:
            raise DemoFailed(f"Dagster ended {dagster.deaths} times: see {dagster.log_file}")
        if self._options.once and time.monotonic() > deadline:
            limit = self._options.timeout_seconds
            raise DemoFailed(f"not everything was committed within {limit:.0f} s: see {dagster.log_file}")


def sentences(report: DemoReport, setting: Setting) -> Iterator[str]:
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
    stays = "The stack and its lake are gone" if setting.on_stack else f"The lake stays in {setting.folder}"
    yield f"verify: {outcome}. {stays}"
