"""The benchmarks measure what they say: every contender does the whole work, and the results have the promised keys."""

from pathlib import Path

import pytest

from arrow_ingest.demo.broker import EmbeddedBroker
from benchmarks import growth, throughput
from benchmarks.brokers import RunningBroker
from benchmarks.report import markdown
from benchmarks.results import header
from benchmarks.runs import ContenderFailed, measured
from benchmarks.task import Task

ROWS = 3_000


@pytest.fixture
def running(broker: EmbeddedBroker) -> RunningBroker:
    return RunningBroker("embedded", "embedded", broker.bootstrap_servers, (broker.pid,))


@pytest.mark.timeout(300)
def test_every_contender_does_all_of_the_work(
    running: RunningBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throughput, "REPETITIONS", 1)
    made = throughput.run(running, tmp_path, rows=ROWS, contenders=throughput.ALL, cap_seconds=60, dagster=False)
    rows = {name: run.work.rows for name, (run,) in made.runs.items()}
    assert rows.pop("parquet_only") >= ROWS  # whole row groups
    assert rows == dict.fromkeys(rows, ROWS)
    assert rows.keys() | {"parquet_only"} == set(throughput.ALL)
    assert all(run.cost.cpu_seconds > 0 and run.cost.peak_rss_mib > 10 for runs in made.runs.values() for run in runs)
    found = made.document()
    assert {
        "rows_per_s",
        "ratio_vs_poc_loop",
        "ratio_vs_json",
        "share_of_limit",
        "cpu_seconds_per_gb",
        "cpu_vs_limits",
        "peak_rss_mib",
        "bytes_copied_per_byte",
        "bytes_cast_per_byte",
        "broker",
    } <= found.keys()
    assert found["bytes_copied_per_byte"] == 0
    assert found["bytes_cast_per_byte"] > 0
    shown = markdown({**header("short"), "throughput": {**found, "other_brokers": []}})
    assert "limit: Parquet writing only" in shown


def test_a_contender_that_fails_is_no_number(tmp_path: Path) -> None:
    task = Task("fetch_only", "127.0.0.1:1", "none", 1, 1, str(tmp_path / "lake"))
    with pytest.raises(ContenderFailed, match="BrokerUnavailable"):
        measured(task)


@pytest.mark.timeout(300)
def test_a_lake_that_grew_is_one_that_verify_accepts(
    broker: EmbeddedBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growth, "COMMITS", 2)
    rows = growth.run(
        lambda name: f"sqlite:{tmp_path / name / 'catalog.sqlite'}",
        tmp_path,
        levels=(2, 12),
        snapshots=20,
        verify_up_to=100,
        bootstrap_servers=broker.bootstrap_servers,
    )
    verified = {row["step"]: row["snapshots"] for row in rows if "verify_ms" in row}
    assert verified["20 snapshots"] == 20
    assert list(verified) == ["2 files", "12 files", "20 snapshots", "after maintenance"]
    assert growth.cost_ratio(rows) > 0
