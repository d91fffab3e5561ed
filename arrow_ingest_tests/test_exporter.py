"""The exporter over a real lake and broker: what a scrape says, and what it says when one of them does not answer."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from arrow_ingest.demo.broker import EmbeddedBroker
from arrow_ingest.errors import CatalogUnavailable
from arrow_ingest.exporter.lake_numbers import LakeReader
from arrow_ingest.exporter.lake_process import LakeProcess
from arrow_ingest.exporter.look import Look
from arrow_ingest.exporter.metrics import METRICS
from arrow_ingest.exporter.rounds import Rounds
from arrow_ingest.exporter.served import Served
from arrow_ingest.lake.ledger_totals import LedgerTotal
from arrow_ingest.lake.ledger_volumes import put_aside, roll_up, volumes
from arrow_ingest.pipeline import standing
from arrow_ingest.pipeline.drain import drain
from arrow_ingest.project import load_pipelines
from arrow_ingest.stack.child import free_port
from arrow_ingest.values import Receipt
from arrow_ingest_tests.cli_project import CliProject, cli_project
from arrow_ingest_tests.drained_lake import Drained
from arrow_ingest_tests.staged_table import by_day, pipeline

SECONDS = 60.0


def samples(text: str) -> dict[tuple[str, ...], float]:
    """What was served: name and label values to the number, without the prefix and the pipeline's own label."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = [value for name, value in sample.labels.items() if name != "pipeline"]
            found[sample.name.removeprefix("arrow_ingest_"), *labels] = sample.value
    return found


def test_a_scrape_says_what_lake_and_broker_hold_and_the_log_is_json(
    tmp_path: Path, broker: EmbeddedBroker, topic: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    project = cli_project(tmp_path, broker.bootstrap_servers, clicks=topic(2))
    poison = tmp_path / "poison"
    poison.write_bytes(b"canary-payload")
    sent = ("produce", "--batches", "6", "--rate", "0", "--rows-per-batch", "20", "--days", "2")
    project.json(*sent, "--payload-file", str(poison))
    monkeypatch.setenv("ARROW_INGEST_LOG_FORMAT", "json")
    lines = [json.loads(line) for line in project.run("drain").stderr.splitlines()]
    flushed = [line for line in lines if "flushed batch rows=" in line["message"]]
    assert {(line["pipeline"], line["lane"], line["level"]) for line in flushed} == {("clicks", 0, "info")}
    [status] = project.json("status")
    for line, commit in zip(reversed(flushed), status["commits"], strict=True):
        assert (line["run_id"], line["snapshot_id"]) == (commit["run_id"], commit["snapshot_id"])
    assert "canary" not in str(lines)
    monkeypatch.delenv("ARROW_INGEST_LOG_FORMAT")
    one_more = ("produce", "--batches", "1", "--rate", "0", "--rows-per-batch", "20")
    receipts = commit_each(project, lambda: project.json(*one_more), times=2)
    project.json(*sent)

    served = scraped(project, lambda found: found.get(("broker_up",)) == 1)
    assert served["lake_up",] == 1
    assert served["rows_total", "ingest"] == 160
    assert served["messages_total", "ingest"] == 9
    assert (served["dead_letters_total", "ingest"], served["dead_letters_waiting",]) == (1, 1)
    assert served["received_bytes_total", "ingest"] > 0
    assert sum(value for name, value in served.items() if name[0] == "lag_messages") == 6
    assert sum(value for name, value in served.items() if name[0] == "end_offset") == 15
    assert served["lane_suspended", "0", ""] == 0
    assert served["commits_total", "ingest"] == len(flushed) + 2
    assert served["commit_seconds", "0"] == round(receipts[0].commit_seconds, 4), "it stands beside the next commit"
    assert served["small_files",] == served["files",] > 0
    assert abs(served["lane_moved_timestamp_seconds", "0"] - time.time()) < 600
    assert served["snapshot_id",] == receipts[1].snapshot_id


def commit_each(project: CliProject, send: Callable[[], object], *, times: int) -> list[Receipt]:
    """The receipts of one run that commits each message before the next is sent."""
    [config] = load_pipelines(project.folder)
    run = config.run.model_copy(update={"max_run_seconds": SECONDS, "linger_seconds": SECONDS})
    flush = config.flush.model_copy(update={"max_bytes": 1})
    stop, receipts = threading.Event(), []
    send()
    for receipt in drain(config.model_copy(update={"flush": flush}), run_id="twice", run=run, stop=stop):
        if receipt is not None:
            receipts.append(receipt)
            send() if len(receipts) < times else stop.set()
    return receipts


def scraped(
    project: CliProject, is_enough: Callable[[dict[tuple[str, ...], float]], bool]
) -> dict[tuple[str, ...], float]:
    """What the command serves over HTTP once it is enough; a SIGTERM then ends it without complaint."""
    command = [sys.executable, "-m", "arrow_ingest", "exporter", "--port", "0", "--every", "1"]
    environ = os.environ | {"ARROW_INGEST_LOG_FORMAT": "json"}
    arguments = [*command, "--project", str(project.folder)]
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True, env=environ) as process:
        try:
            assert process.stderr is not None
            line = json.loads(process.stderr.readline())
            [url] = re.findall(r"http://127\.0\.0\.1:\d+/metrics", line["message"])
            deadline = time.monotonic() + SECONDS
            found: dict[tuple[str, ...], float] = {}
            while not is_enough(found):
                assert time.monotonic() < deadline, found
                with urllib.request.urlopen(url, timeout=SECONDS) as answer:  # noqa: S310 - the address of ours
                    found = samples(answer.read().decode())
                time.sleep(0.05)
            process.send_signal(signal.SIGTERM)
            assert process.wait(SECONDS) == 0
        finally:
            process.kill()
    return found


def test_a_lake_or_broker_that_does_not_answer_is_down_and_its_numbers_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standing, "ASK_SECONDS", 0.5)
    config = pipeline(tmp_path, **by_day())
    drained = Drained(tmp_path, config)
    drained.commit()
    drained.lake.close()
    nobody = config.kafka.model_copy(update={"bootstrap_servers": f"127.0.0.1:{free_port()}"})
    config = config.model_copy(update={"kafka": nobody})
    with LakeProcess([config], answer_seconds=SECONDS) as lake:
        rounds, served = Rounds([config], lake), Served()
        served.show(rounds.look(0))
        found = samples(served.text())
        assert (found["lake_up",], found["broker_up",], found["messages_total", "ingest"]) == (1, 0, 6)
        assert not [name for name in found if name[0] in {"lag_messages", "end_offset"}]
        assert "the broker cannot be asked: no answer from Kafka" in caplog.text

        file = tmp_path / "catalog.sqlite"
        whole = file.read_bytes()
        file.write_bytes(b"no database at all")
        told = len(caplog.records)
        look = Look(config, 1.0, 1.0, rounds.in_lake(0), None)
        assert rounds.in_lake(0) is None
        assert len(caplog.records) == told + 1, "the same reason is told once"
        served.show(look)
        silent = samples(served.text())
        assert silent["lake_up",] == 0
        assert ("messages_total", "ingest") not in silent
        file.write_bytes(whole)
        assert rounds.in_lake(0) is not None


def test_a_child_that_dies_or_hangs_with_the_catalog_is_replaced(tmp_path: Path) -> None:
    config = pipeline(tmp_path, **by_day())
    with LakeProcess([config], answer_seconds=SECONDS) as lake:
        assert lake.read(0).lanes == ()
        first = lake.pid
        assert first is not None
        os.kill(first, signal.SIGSTOP)
        threading.Timer(0.2, os.kill, (first, signal.SIGABRT)).start()
        threading.Timer(0.4, os.kill, (first, signal.SIGCONT)).start()
        with pytest.raises(CatalogUnavailable, match="ended with -6"):
            lake.read(0)
        assert lake.read(0).lanes == ()
        second = lake.pid
        assert second not in (None, first)
        os.kill(second, signal.SIGSTOP)
        lake._answer_seconds = 0.2
        with pytest.raises(CatalogUnavailable, match="no answer from the lake"):
            lake.read(0)
        assert lake.pid is None


def test_counters_go_on_through_a_full_ledger_and_its_roll_up(tmp_path: Path, catalog: str) -> None:
    config = pipeline(tmp_path, catalog=catalog, **by_day())
    drained, reader = Drained(tmp_path, config), LakeReader(config)
    lake = drained.lake
    for number in range(1, 3):
        drained.commit(3, dead=1)
        numbers = reader.read()
        assert numbers.totals is not None
        [total] = before = list(numbers.totals.values())
        assert (total.commits, total.dead, total.rows > 0) == (number, number, True)
        assert (numbers.letters_waiting, numbers.census.files > 0) == (number, True)
        assert numbers.snapshots is not None
        assert numbers.snapshots.oldest_at < numbers.snapshots.newest_at <= datetime.now(UTC)
        lake.write(lambda: put_aside(lake))
        assert list(totals_of(reader)) == before
    for volume in volumes(lake):
        lake.write(lambda volume=volume: roll_up(lake, volume))
        assert list(totals_of(reader)) == before
    assert list(totals_of(LakeReader(config))) == before, "as after a restart"


def totals_of(reader: LakeReader) -> Iterable[LedgerTotal]:
    return (reader.read().totals or {}).values()


def test_an_address_that_is_taken_is_refused_and_a_fault_of_ours_ends_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = cli_project(tmp_path, f"127.0.0.1:{free_port()}", clicks="none")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert "cannot listen on 127.0.0.1:" in project.run("exporter", "--port", port, exit_code=2).stderr
    monkeypatch.setattr(Served, "show", None)
    with pytest.raises(AssertionError, match="NoneType"):
        project.run("exporter", "--port", "0")


def test_every_number_is_explained_in_the_documentation() -> None:
    page = (Path(__file__).parents[1] / "docs" / "monitoring.md").read_text()
    assert set(re.findall(r"^\| `(arrow_ingest_\w+)", page, re.MULTILINE)) == {
        "arrow_ingest_exporter_info",
        *(metric.full_name for metric in METRICS),
    }
