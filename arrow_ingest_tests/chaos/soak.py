"""Two lanes and maintenance for an hour, a fault every five seconds: nothing lost, nothing twice, nothing that grows.

Usage: ``python -m arrow_ingest_tests.chaos.soak [--minutes N] [--seed N]``, or ``make soak``

Lane 0 lives from the beginning to the end, and is only stopped now and then, so that what its process holds can be
seen to stay flat. Lane 1 and maintenance are stopped, killed, and cut off from PostgreSQL. Prints one line of JSON; the
exit code is 0 only if all is well.
"""

import argparse
import json
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from arrow_ingest.demo.broker import EmbeddedBroker
from arrow_ingest.lake.session import open_lake
from arrow_ingest.lake.statistics import METADATA
from arrow_ingest.producer.events import EventGenerator
from arrow_ingest.stack.postgres import PostgresServer
from arrow_ingest_tests.chaos.busy_lake import PROCESSES, BusyLake, busy_pipeline
from arrow_ingest_tests.chaos.busy_process import COMMITTED, FAILED
from arrow_ingest_tests.chaos.cut_lake import through
from arrow_ingest_tests.chaos.cutting_proxy import CuttingProxy
from arrow_ingest_tests.conftest import new_topic
from arrow_ingest_tests.lake_contents import PARTITIONS

FAULT_SECONDS = 5.0
STOPPED_SECONDS = 2.0
MESSAGES = 10
"""Sent before each fault."""

GROWTH = {"rss_mebibytes": 40.0, "descriptors": 15.0, "threads": 15.0, "orphans": 60.0}
"""By how much the median of the last quarter may be above that of the second one."""

_KNOWN = f"""
SELECT parse_filename(path) FROM {METADATA}.ducklake_data_file UNION ALL
SELECT parse_filename(path) FROM {METADATA}.ducklake_delete_file UNION ALL
SELECT parse_filename(path) FROM {METADATA}.ducklake_files_scheduled_for_deletion
"""


def main() -> int:
    """Soak, and say how it went."""
    parser = argparse.ArgumentParser(prog="make soak", description="two lanes and maintenance, under faults")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="arrow-ingest-soak-") as folder:
        said = soak(Path(folder), minutes=arguments.minutes, seed=arguments.seed)
    print(json.dumps(said), flush=True)
    return 0 if said["ok"] else 1


def soak(folder: Path, *, minutes: float, seed: int) -> dict[str, object]:
    """What is printed at the end."""
    with (
        EmbeddedBroker(log_file=folder / "broker.log") as broker,
        PostgresServer() as server,
        CuttingProxy(server.port) as proxy,
    ):
        topic = new_topic(broker.bootstrap_servers, PARTITIONS)
        config = busy_pipeline(folder, broker.bootstrap_servers, topic, f"postgres:{server.new_database()}")
        cut_off = through(config, proxy.port)
        generator = EventGenerator(seed=seed, now=datetime(2026, 11, 20, 12, tzinfo=UTC), days=3)
        lake = BusyLake(config, generator, folder, {"lane 1": cut_off, "maintenance": cut_off})
        lake.send(MESSAGES)
        lake.drain_the_rest()
        trial = _Soak(lake, proxy, random.Random(f"soak/{seed}"))
        with lake.running():
            trial.last(minutes * 60)
        lake.drain_the_rest()
        report, damage = lake.verified(), lake.damage()
    held = {name: _over_time([sample[name] for sample in trial.samples]) for name in GROWTH}
    failed_steps = [said for said in lake.said["maintenance"] if said.startswith(FAILED)]
    is_flat = all(held[name][2] - held[name][1] <= most for name, most in GROWTH.items())
    return {
        "ok": report.ok and is_flat and not any(damage.values()),
        "minutes": minutes,
        "seed": seed,
        "messages": lake.sent,
        "commits": sum(lake.count(f"lane {lane}", COMMITTED) for lane in range(2)),
        "faults": dict(trial.faults),
        "verified": report.ok,
        "findings": [f"{found.code}: {found.detail}" for found in report.findings],
        **damage,
        "maintenance_failed": failed_steps[:5],
        "flat": is_flat,
        **held,
    }


@dataclass
class _Soak:
    lake: BusyLake
    proxy: CuttingProxy
    chance: random.Random
    faults: Counter[str] = field(default_factory=Counter)
    samples: list[dict[str, float]] = field(default_factory=list)

    def last(self, seconds: float) -> None:
        """Messages, a fault and a look, again and again."""
        kinds: dict[str, Callable[[], None]] = {
            "kill lane 1": partial(self.lake.kill, "lane 1"),
            "kill maintenance": partial(self.lake.kill, "maintenance"),
            "cut off from PostgreSQL": self.proxy.cut_all,
            **{f"stop {name}": partial(self._stop, name) for name in PROCESSES},
        }
        started = time.monotonic()
        following = started + FAULT_SECONDS
        while time.monotonic() - started < seconds:
            self.lake.send(MESSAGES)
            time.sleep(max(0.0, following - time.monotonic()))
            following += FAULT_SECONDS
            if died := self.lake.start_what_died():
                self.faults["ended by DuckDB"] += died
            kind = self.chance.choice(list(kinds))
            kinds[kind]()
            self.faults[kind] += 1
            self.samples.append(self._sample())

    def _stop(self, name: str) -> None:
        """Let a process stand still for a moment."""
        process = self.lake.process_id(name)
        os.kill(process, signal.SIGSTOP)
        try:
            time.sleep(STOPPED_SECONDS)
        finally:
            os.kill(process, signal.SIGCONT)

    def _sample(self) -> dict[str, float]:
        """What lane 0 holds, and how many files nothing refers to."""
        process = Path(f"/proc/{self.lake.process_id('lane 0')}")
        status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
        files = {file.name for file in Path(self.lake.config.lake.data_path).rglob("*.parquet")}
        with open_lake(self.lake.config.lake, read_only=True) as session:
            known = {name for (name,) in session.execute(_KNOWN)}
        return {
            "rss_mebibytes": int(status["VmRSS"].split()[0]) / 1024,
            "descriptors": len(list((process / "fd").iterdir())),
            "threads": int(status["Threads"]),
            "orphans": len(files - known),
        }


def _over_time(values: Sequence[float]) -> list[float]:
    """The first value, and the medians of the second and of the last quarter.

    >>> _over_time([1, 9, 5, 5, 6, 6, 7, 7])
    [1, 5.0, 7.0]
    """
    quarter = max(1, len(values) // 4)
    second = values[quarter : 2 * quarter] or values
    return [round(value, 1) for value in (values[0], statistics.median(second), statistics.median(values[-quarter:]))]


if __name__ == "__main__":
    sys.exit(main())
