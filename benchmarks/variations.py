"""One thing changed at a time, how fast the drain is then out: backlogs, partitions, messages, schemas, days, lanes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shutil import rmtree
from statistics import mean
from typing import Any

from arrow_ingest.stack.postgres import PostgresServer
from benchmarks.brokers import RunningBroker
from benchmarks.growth import lake_of
from benchmarks.runs import Measured, measured, together
from benchmarks.shapes import nested, wide
from benchmarks.task import Task
from benchmarks.topics import Batches, Topic, events, preload_arrow

DISTINCT = 400


@dataclass(frozen=True, slots=True)
class Variation:
    """A topic that differs in one thing from the others."""

    name: str
    batches: Batches
    rows: int
    partitions: int = 8
    rows_per_message: int = 1_000
    settings: Mapping[str, Any] = field(default_factory=dict)


def variations(rows: int) -> tuple[Variation, ...]:
    """All but the backlogs and lanes, each of about so many rows."""
    one_day = events()
    return (
        Variation("1 partition", one_day, rows, partitions=1),
        Variation("8 partitions", one_day, rows),
        Variation("64 partitions", one_day, rows, partitions=64),
        Variation("messages of 10 rows", one_day, rows // 10, rows_per_message=10),
        Variation("messages of 10,000 rows", one_day, rows, rows_per_message=10_000),
        Variation("200 columns", wide, rows // 2),
        Variation("nested", nested, rows),
        Variation("3 days", events(3), rows),
        Variation("30 days", events(30), rows),
    )


def backlog(rows: int) -> Variation:
    """Many rows in 64 partitions: what memory is judged by."""
    return Variation(f"backlog of {rows:,} rows", events(), rows, partitions=64)


def run(broker: RunningBroker, folder: Path, chosen: Sequence[Variation]) -> list[dict[str, Any]]:
    """Each variation once."""
    return [_drained(broker, folder, number, variation) for number, variation in enumerate(chosen)]


def run_lanes(broker: RunningBroker, folder: Path, *, rows: int, lanes: Sequence[int]) -> list[dict[str, Any]]:
    """The same topic by so many processes at once, each a lane, over a PostgreSQL catalog.

    Raises:
        MissingPart: there is no PostgreSQL server on this machine.
    """
    topic = preload_arrow(broker.bootstrap_servers, "bench-lanes", events(), rows=rows, distinct=DISTINCT)
    found = []
    with PostgresServer() as server:
        for count in lanes:
            catalog = f"postgres:{server.new_database()}"
            home = folder / f"lanes-{count}"
            settings = {"lanes": count, "lake": lake_of(catalog, home)}
            made = together(
                [_task(broker, topic, home, settings, {"lane": lane}) for lane in range(count)], broker.pids
            )
            rmtree(home, ignore_errors=True)
            found.append(_lanes_document(count, made))
            print(f"  {found[-1]}", flush=True)
    return found


def _drained(broker: RunningBroker, folder: Path, number: int, variation: Variation) -> dict[str, Any]:
    topic = preload_arrow(
        broker.bootstrap_servers,
        f"bench-variation-{number}-{variation.rows}",
        variation.batches,
        rows=variation.rows,
        rows_per_message=variation.rows_per_message,
        partitions=variation.partitions,
        distinct=min(DISTINCT, 400_000 // variation.rows_per_message),
    )
    made = measured(_task(broker, topic, folder / f"variation-{number}", variation.settings, {}), broker.pids)
    row = _document(variation.name, made)
    print(f"  {row}", flush=True)
    return row


def _task(
    broker: RunningBroker, topic: Topic, folder: Path, settings: Mapping[str, Any], options: Mapping[str, Any]
) -> Task:
    return Task(
        contender="ours",
        bootstrap_servers=broker.bootstrap_servers,
        topic=topic.name,
        messages=topic.messages,
        rows=topic.rows,
        folder=str(folder),
        settings=settings,
        options=options,
    )


def _document(name: str, made: Measured) -> dict[str, Any]:
    return {
        "variation": name,
        "rows": made.work.rows,
        "rows_per_s": round(made.rows_per_s),
        "mb_per_s": round(made.mb_per_s, 1),
        "cpu_seconds_per_gb": round(made.cpu_seconds_per_gb, 2),
        "peak_rss_mib": round(made.cost.peak_rss_mib),
        "rss_last_over_second_quarter": rss_growth(made.rss_mib),
        "commits": made.work.commits,
        "files": made.work.files,
        "bytes_copied_per_byte": round(made.work.bytes_copied / made.work.bytes_received, 4),
    }


def _lanes_document(lanes: int, made: Sequence[Measured]) -> dict[str, Any]:
    """Lanes start within a fraction of a second of each other, so the slowest one's time is that of all."""
    seconds = max(run.cost.seconds for run in made)
    return {
        "lanes": lanes,
        "rows_per_s": round(sum(run.work.rows for run in made) / seconds),
        "cpu_seconds": round(sum(run.cost.cpu_seconds for run in made), 2),
        "peak_rss_mib": [round(run.cost.peak_rss_mib) for run in made],
        "commits": sum(run.work.commits for run in made),
    }


def rss_growth(samples_mib: Sequence[float]) -> float | None:
    """The mean of the last quarter of the run over that of the second; None where there are too few samples.

    >>> rss_growth([100.0] * 40 + [110.0] * 40)
    1.1
    """
    quarter = len(samples_mib) // 4
    if quarter < 10:
        return None
    return round(mean(samples_mib[-quarter:]) / mean(samples_mib[quarter : 2 * quarter]), 3)
