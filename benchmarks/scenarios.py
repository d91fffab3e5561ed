"""A plan in, the results of its scenarios out, one key each."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from arrow_ingest.errors import MissingPart
from arrow_ingest.stack.postgres import PostgresServer
from benchmarks import growth, latency, overheads, throughput, trades, variations
from benchmarks.brokers import EMBEDDED, KAFKA, kafka_version, running
from benchmarks.plan import Plan
from benchmarks.runs import measured
from benchmarks.task import Task
from benchmarks.topics import events, make_topic, preload_arrow

Scenario = Callable[[Plan, Path], dict[str, Any]]


def run_throughput(plan: Plan, folder: Path) -> dict[str, Any]:
    """On every broker there is; the numbers at the top are those of Apache Kafka, where it runs."""
    made: dict[str, dict[str, Any]] = {}
    for kind in _kinds():
        is_first = not made
        everything = is_first or plan.name == "full"
        with running(kind, folder / f"throughput-{kind}") as broker:
            print(f"throughput on {broker.name}", flush=True)
            done = throughput.run(
                broker,
                folder / "contenders",
                rows=plan.rows,
                contenders=throughput.ALL if everything else throughput.BESIDE,
                cap_seconds=plan.cap_seconds,
                dagster=is_first,
            )
        made[kind] = done.document()
    first, *others = made.values()
    return {**first, "other_brokers": others}


def run_latency(plan: Plan, folder: Path) -> dict[str, Any]:
    """On the embedded broker, whose own delay is the smaller one."""
    print("latency", flush=True)
    with running(EMBEDDED, folder / "latency") as broker:
        ages = [
            latency.run(broker, folder / f"lake-{age:g}", age_seconds=age, steady_seconds=steady)
            for age, steady in plan.flush_ages
        ]
    return latency.summary(ages)


def run_growth(plan: Plan, folder: Path) -> dict[str, Any]:
    """Commits in a lake that grows."""
    print("growth", flush=True)
    found: dict[str, Any] = {}
    with running(EMBEDDED, folder / "growth") as broker:
        make_topic(broker.bootstrap_servers, "bench-growth", 1)
        for name, new_catalog in _catalogs(plan, folder):
            print(f" {name}", flush=True)
            found[name] = growth.run(
                new_catalog,
                folder / f"growth-{name}",
                levels=plan.levels,
                snapshots=plan.snapshots,
                verify_up_to=plan.verify_up_to,
                bootstrap_servers=broker.bootstrap_servers,
            )
    ratios = {name: growth.cost_ratio(found[name]) for name in ("sqlite", "postgres") if name in found}
    return {"commit_cost_ratio": max(ratios.values()), "commit_cost_ratios": ratios, **found}


def run_variations(plan: Plan, folder: Path) -> dict[str, Any]:
    """Everything that a topic can differ in; empty in a short run."""
    if not plan.varied_rows:
        return {}
    print("variations", flush=True)
    found: dict[str, Any] = {}
    with running(EMBEDDED, folder / "topics") as broker:
        found["variations"] = variations.run(broker, folder / "variations", variations.variations(plan.varied_rows))
        found["lanes"] = variations.run_lanes(broker, folder / "lanes", rows=plan.varied_rows, lanes=plan.lanes)
    # 11 GB of backlog: Kafka keeps it on disk, the embedded broker in memory.
    with running(_kinds()[0], folder / "backlog") as broker:
        chosen = [variations.backlog(rows) for rows in plan.backlogs]
        found["backlogs"] = variations.run(broker, folder / "backlogs", chosen)
    return found


def run_overheads(plan: Plan, folder: Path) -> dict[str, Any]:
    """What the drain does beside its work."""
    print("overheads", flush=True)
    found = overheads.run()
    with running(EMBEDDED, folder / "overheads") as broker:
        topic = preload_arrow(broker.bootstrap_servers, "bench-crc", events(), rows=plan.rows // 2)
        found["crc_ms_per_mb"] = overheads.crc_ms_per_mb(broker, topic)
        task = Task(
            "dagster_run", broker.bootstrap_servers, topic.name, topic.messages, topic.rows, str(folder / "dagster")
        )
        found["dagster"] = measured(task, broker.pids).work.extra
    return found


def run_trades(plan: Plan, folder: Path) -> dict[str, Any]:
    """Settings under other values than their defaults."""
    print("trades", flush=True)
    with running(EMBEDDED, folder / "trades") as broker:
        return {"settings": trades.run(broker, folder / "trades-lakes", rows=plan.rows)}


SCENARIOS: Mapping[str, Scenario] = {
    "throughput": run_throughput,
    "latency": run_latency,
    "growth": run_growth,
    "variations": run_variations,
    "overheads": run_overheads,
    "trades": run_trades,
}


def _kinds() -> tuple[str, ...]:
    """The brokers that run here, the one that counts first."""
    try:
        kafka_version()
    except MissingPart as missing:
        print(f"without Apache Kafka: {missing}", flush=True)
        return (EMBEDDED,)
    return (KAFKA, EMBEDDED)


def _catalogs(plan: Plan, folder: Path) -> Iterator[tuple[str, Callable[[str], str]]]:
    """Kinds of catalogs, each with what makes an empty one of a name."""
    yield "sqlite", lambda name: f"sqlite:{folder / 'growth-sqlite' / name / 'catalog.sqlite'}"
    if plan.postgres:
        with PostgresServer() as server:
            yield "postgres", lambda _: f"postgres:{server.new_database()}"
