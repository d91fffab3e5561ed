"""`arrow-ingest drain`: commit what the topic holds, in this process."""

import logging
import math
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

import click
from rich.console import RenderableType

from arrow_ingest.cli.exits import Exit, reported
from arrow_ingest.cli.options import Common, common
from arrow_ingest.cli.output import print_json, print_people, table
from arrow_ingest.cli.progress import counting
from arrow_ingest.cli.runs import new_run_id
from arrow_ingest.cli.signals import stop_on_signals
from arrow_ingest.config import PipelineConfig
from arrow_ingest.errors import ArrowIngestError, ConfigError
from arrow_ingest.log_lines import about
from arrow_ingest.pipeline.drain import drain as drain_lane
from arrow_ingest.pipeline.standing import standing_of
from arrow_ingest.values import Receipt, Tally

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Drained:
    """What draining one lane committed, and how it ended."""

    pipeline: str
    lane: int
    commits: int = 0
    tally: Tally = field(default_factory=Tally)
    files: int = 0
    bytes_received: int = 0
    bytes_copied: int = 0
    bytes_on_disk: int = 0
    snapshot_id: int | None = None
    seconds: float = 0.0
    exit: Exit = Exit.OK
    error: str | None = None

    def add(self, receipt: Receipt) -> None:
        """Count one commit."""
        self.commits += 1
        self.tally += receipt.tally
        self.files += receipt.files
        self.bytes_received += receipt.bytes_received
        self.bytes_copied += receipt.copies.copied_bytes
        self.bytes_on_disk += receipt.bytes_on_disk
        self.snapshot_id = receipt.snapshot_id

    def document(self) -> dict[str, object]:
        """The numbers as `--json` shows them."""
        return {
            "pipeline": self.pipeline,
            "lane": self.lane,
            "commits": self.commits,
            "messages": self.tally.messages,
            "rows": self.tally.rows,
            "empty": self.tally.empty,
            "dead_letters": self.tally.dead,
            "files": self.files,
            "bytes_received": self.bytes_received,
            "bytes_copied": self.bytes_copied,
            "bytes_on_disk": self.bytes_on_disk,
            "snapshot_id": self.snapshot_id,
            "seconds": round(self.seconds, 3),
            "error": self.error,
        }


@click.command()
@click.argument("pipelines", nargs=-1, metavar="[PIPELINE]...")
@click.option("--lane", type=click.IntRange(min=0), help="This lane only. Default: all, one after another.")
@common
def drain(options: Common, pipelines: tuple[str, ...], lane: int | None) -> None:
    """Commit what the topics hold now, in this process and without Dagster.

    Drains every pipeline of the project, or those that are named, up to the end of the log as it is at the start. A
    lane that cannot be drained does not keep the others from it. SIGINT (Ctrl-C) and SIGTERM commit what was fetched
    and end.
    """
    lanes = [(config, number) for config in options.pipelines(pipelines) for number in _lanes(config, lane)]
    with stop_on_signals() as stop:
        results = [_drained(config, number, stop) for config, number in lanes]
        stopped = stop.is_set()
    if options.as_json:
        print_json({"stopped": stopped, "lanes": [result.document() for result in results]})
    else:
        print_people(*_sentences(results, stopped=stopped))
    click.get_current_context().exit(max(result.exit for result in results))


def _lanes(config: PipelineConfig, lane: int | None) -> Iterable[int]:
    if lane is None:
        return range(config.lanes)
    if lane >= config.lanes:
        raise ConfigError(f"there is no lane {lane}: {config.name} has {config.lanes}, counted from 0")
    return [lane]


def _drained(config: PipelineConfig, lane: int, stop: threading.Event) -> Drained:
    """Drain one lane; an error is told at once, and again in the result."""
    drained = Drained(config.name, lane)
    if stop.is_set():
        return drained
    run = config.run.model_copy(update={"until": "caught_up", "max_run_seconds": math.inf})
    began, run_id = time.monotonic(), new_run_id()
    try:
        with (
            about(pipeline=config.name, run_id=run_id, lane=lane),
            counting(f"{config.name} lane {lane}", lambda: standing_of(config).lag(lane)) as advance,
        ):
            for receipt in drain_lane(config, lane=lane, run_id=run_id, run=run, stop=stop):
                if receipt is not None:
                    log.info(receipt.log_line(), extra={"snapshot_id": receipt.snapshot_id})
                    drained.add(receipt)
                    advance(sum(offsets.count for offsets in receipt.ranges))
    except ArrowIngestError as error:
        drained.error, drained.exit = str(error), reported(error)
    drained.seconds = time.monotonic() - began
    return drained


def _sentences(results: Iterable[Drained], *, stopped: bool) -> Iterable[RenderableType]:
    shown = ("pipeline", "lane", "commits", "messages", "rows", "dead_letters", "files", "snapshot_id", "seconds")
    documents = [result.document() for result in results]
    yield table([name.replace("_", " ") for name in shown], [[each[name] for name in shown] for each in documents])
    if stopped:
        yield "Stopped before the end: the next drain goes on from here."
