"""rebuild: table partitions named on the command line are made anew, or refused with the reason."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from arrow_ingest.demo.broker import EmbeddedBroker
from arrow_ingest.kafka.cluster import Cluster
from arrow_ingest.lake.catalog import catalog_of
from arrow_ingest.producer.arrow import ArrowProducer
from arrow_ingest.project import load_pipelines
from arrow_ingest_tests.cli_project import cli_project

DAYS = ("2026-03-01", "2026-03-02", "2026-03-02", "2026-03-04")


def test_a_range_or_named_days_are_rebuilt_and_told_and_what_fits_nothing_is_refused(
    tmp_path: Path, broker: EmbeddedBroker, topic: Callable[..., str]
) -> None:
    name = topic()
    project = cli_project(tmp_path, broker.bootstrap_servers, clicks=name)
    assert "never started" in project.run("rebuild", "--from", DAYS[0], exit_code=2).stderr
    with ArrowProducer(name, {"bootstrap.servers": broker.bootstrap_servers}) as producer:
        for day in DAYS:
            producer.send(pa.record_batch({"event": ["e"] * 5, "timestamp": [f"{day}T12:00:00Z"] * 5}), partition=0)
    project.run("drain")

    rebuilt = project.json("rebuild", "--from", "2026-03-02", "--to", "2026-03-31")["rebuilt"]
    # One commit brought all four messages, so each day reads them all.
    assert [(part["partition"], part["messages"], part["rows"]) for part in rebuilt] == [
        ("2026-03-02", len(DAYS), 10),
        ("2026-03-04", len(DAYS), 5),
    ]
    [first] = project.json("rebuild", "--from", "2026-03-01")["rebuilt"]
    assert first["partition"] == "2026-03-01"
    text = project.run("rebuild", "--partition", "2026-03-04", "--partition", "2026-03-01").stdout
    assert "2026-03-04" in text
    assert "None of these" in project.run("rebuild", "--from", "2026-03-03").stdout
    [verified] = project.json("verify", "--full")
    assert (verified["ok"], verified["rows"]) == (True, 20)

    assert "name table partitions" in project.run("rebuild", exit_code=2).stderr
    assert "is no day" in project.run("rebuild", "--from", "17", exit_code=2).stderr
    assert "before it begins" in project.run("rebuild", "--from", DAYS[1], "--to", DAYS[0], exit_code=2).stderr
    [config] = load_pipelines(project.folder)
    with catalog_of(config.lake).lane_lock(config.name, 0, holder="a-drain"):
        assert "a-drain" in project.run("rebuild", "--from", DAYS[0], "--wait", "0", exit_code=3).stderr
    with Cluster(config.kafka) as cluster:
        cluster.delete_topic()
        cluster.create_topic(1)
    assert "was made again" in project.run("rebuild", "--from", DAYS[0], exit_code=1).stderr
