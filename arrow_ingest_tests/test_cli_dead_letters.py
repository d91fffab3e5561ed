"""dead-letters: what could not become rows is listed, looked at and taken out again, byte for byte."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from confluent_kafka import Producer

from arrow_ingest.demo.broker import PRODUCER_PROPERTIES, EmbeddedBroker
from arrow_ingest.lake.dead_letter_query import Wanted, bodies, stored_letters
from arrow_ingest.lake.session import open_lake
from arrow_ingest.producer.events import EventGenerator
from arrow_ingest.project import load_pipelines
from arrow_ingest_tests.arrow_payloads import stream_of
from arrow_ingest_tests.cli_project import CliProject, cli_project

GOOD = stream_of(EventGenerator(seed=3, now=datetime(2026, 11, 20, tzinfo=UTC)).batch(0, 20)).to_pybytes()
PAYLOADS = (GOOD + b"tail", GOOD[:-20], None)
"""At offsets 0, 1 and 2 of partition 1."""


@pytest.fixture
def project(tmp_path: Path, broker: EmbeddedBroker, topic: Callable[..., str]) -> CliProject:
    """A topic with three messages that cannot become rows and one that can, drained."""
    name = topic(partitions=2)
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers, **PRODUCER_PROPERTIES})
    for payload in PAYLOADS:
        producer.produce(name, payload, key=b"k\xff", partition=1, headers=[("trace", b"1"), ("none", None)])
    producer.produce(name, GOOD, partition=0)
    assert producer.flush(10) == 0
    project = cli_project(tmp_path, broker.bootstrap_servers, clicks=name)
    project.run("drain")
    return project


def test_list_before_the_first_run_is_empty(tmp_path: Path, broker: EmbeddedBroker) -> None:
    project = cli_project(tmp_path, broker.bootstrap_servers, clicks="nowhere")
    assert project.json("dead-letters list") == []
    assert "There are no dead letters" in project.run("dead-letters list").stdout


def test_list_chooses_by_reason_time_and_number(project: CliProject) -> None:
    letters = project.json("dead-letters list")
    assert [(letter["generation"], letter["partition"], letter["offset"]) for letter in letters] == [
        (0, 1, 0),
        (0, 1, 1),
        (0, 1, 2),
    ]
    assert [letter["payload_bytes"] for letter in letters] == [len(GOOD) + 4, len(GOOD) - 20, None]
    reasons = [letter["reason"] for letter in letters]
    assert reasons == ["trailing_bytes", "truncated", "no_value"]
    chosen = project.json("dead-letters list", "--reason", "truncated", "--reason", "no_value")
    assert [letter["reason"] for letter in chosen] == reasons[1:]
    assert len(project.json("dead-letters list", "--limit", "1")) == 1
    assert len(project.json("dead-letters list", "--since", "2026-01-01")) == 3
    assert project.json("dead-letters list", "--since", "2999-01-01T00:00:00+0100") == []
    assert project.json("dead-letters list", "--generation", "1") == []
    assert "trailing_bytes" in project.run("dead-letters list").stdout


def test_show_tells_key_headers_and_what_would_become_of_it_now(project: CliProject) -> None:
    shown = project.json("dead-letters show", "1:1")
    assert (shown["partition"], shown["offset"], shown["reason"]) == (1, 1, "truncated")
    assert (shown["key"], shown["headers"]) == (
        b"k\xff".hex(),
        [{"key": "trace", "value": b"1".hex()}, {"key": "none", "value": None}],
    )
    assert shown["now"]["rejection"]["reason"] == "truncated"
    text = project.run("dead-letters show", "1:1").stdout
    assert "k\\xff" in text
    assert "DEAD LETTER (truncated)" in text
    assert "DEAD LETTER (no_value)" in project.run("dead-letters show", "1:2").stdout
    assert "has no dead letter at 0:0" in project.run("dead-letters show", "0:0", exit_code=2).stderr


def test_export_gives_every_payload_back_as_it_was_received(project: CliProject, tmp_path: Path) -> None:
    out = tmp_path / "out" / "letters"
    project.run("dead-letters export", "--out", str(out))
    index = json.loads((out / "index.json").read_text())
    assert [entry["file"] for entry in index] == ["0-1-0.bin", "0-1-1.bin", None]
    assert {file.name: file.read_bytes() for file in out.glob("*.bin")} == {
        "0-1-0.bin": PAYLOADS[0],
        "0-1-1.bin": PAYLOADS[1],
    }
    assert index[0]["headers"][0] == {"key": "trace", "value": b"1".hex()}
    one = project.run("dead-letters export", "--at", "1:1", "--out", "-")
    assert one.stdout_bytes == PAYLOADS[1]
    assert "these are 3" in project.run("dead-letters export", "--out", "-", exit_code=2).stderr
    assert "had no value" in project.run("dead-letters export", "--at", "1:2", "--out", "-", exit_code=2).stderr


@pytest.mark.parametrize("window_bytes", [1, 10, 10_000_000])
def test_payloads_come_in_order_whatever_is_in_memory_at_once(project: CliProject, window_bytes: int) -> None:
    [config] = load_pipelines(project.folder)
    with open_lake(config.lake, read_only=True) as lake:
        letters = stored_letters(lake, config.name, config.lake, Wanted())
        found = [body.payload for _, body in bodies(lake, config.lake, letters, window_bytes=window_bytes)]
    assert tuple(found) == PAYLOADS


def test_replay_tells_what_it_did_and_the_rest_expires(project: CliProject) -> None:
    assert project.json("dead-letters replay", "--dry-run", exit_code=1)["still_dead"] == 3
    [yaml] = project.folder.rglob("defs.yaml")
    with_limit = yaml.read_text() + "  limits: {max_rows: 19}\n"
    settings = yaml.read_text()
    yaml.write_text(with_limit)
    producer = Producer({"bootstrap.servers": load_pipelines(project.folder)[0].kafka.bootstrap_servers})
    producer.produce(load_pipelines(project.folder)[0].kafka.topic, GOOD, partition=0)
    assert producer.flush(10) == 0
    project.run("drain")
    yaml.write_text(settings)
    shown = project.json("dead-letters replay", "--reason", "too_many_rows")
    assert (shown["replayed"], shown["rows"], shown["replayed_by_reason"]) == (1, 20, {"too_many_rows": 1})
    assert project.json("dead-letters replay", "--reason", "too_many_rows")["snapshot_id"] is None
    text = project.run("dead-letters replay", exit_code=1).stdout
    assert "0 dead letters became 0 rows" in text
    assert "3 stay (are 1 no_value, 1 trailing_bytes, 1 truncated)" in text
    assert len(project.json("dead-letters list")) == 3
    assert [letter["became"] for letter in project.json("dead-letters list", "--all")].count("replayed") == 1
    assert "dead_letters.keep_days" in project.run("dead-letters expire", exit_code=2).stderr
    assert project.json("dead-letters expire", "--older-than-days", "0", "--dry-run")["letters"] == 3
    assert project.json("dead-letters expire", "--older-than-days", "0")["letters"] == 3
    assert project.json("dead-letters list") == []
    [verified] = project.json("verify")
    assert (verified["ok"], verified["messages"], verified["replayed"], verified["dead_letters"]) == (True, 5, 1, 3)
