"""The canary: whatever happens over S3, no key is in a log, an error, a list, the catalog or a file."""

import logging
import traceback
from pathlib import Path
from typing import Any

import pytest

from arrow_ingest.config import PipelineConfig
from arrow_ingest.demo.broker import EmbeddedBroker
from arrow_ingest.errors import ArrowIngestError
from arrow_ingest.lake.session import open_lake
from arrow_ingest.values import Point
from arrow_ingest_tests.lake_contents import PARTITIONS, drain_in_a_process, drained, produce
from arrow_ingest_tests.s3_proxy import S3Proxy
from arrow_ingest_tests.stack.s3_lakes import MESSAGES, S3Place, events, s3_pipeline, verified
from arrow_ingest_tests.worlds import variables_of_s3

pytestmark = pytest.mark.stack

TOKEN = "canary-of-a-session-token"  # noqa: S105  nobody's


@pytest.fixture
def config(tmp_path: Path, broker: EmbeddedBroker, topic: Any, place: S3Place) -> PipelineConfig:
    made = s3_pipeline(tmp_path, broker.bootstrap_servers, topic(partitions=PARTITIONS), place)
    produce(made, events(), range(MESSAGES))
    return made


def said_by(error: BaseException) -> str:
    """All that a log or Dagster would show of an error: the chain, as they follow it."""
    return "".join(traceback.format_exception(error))


def assert_absent(text: str, *secrets: str) -> None:
    for secret in secrets:
        assert secret not in text


def test_a_good_run_shows_no_key(
    config: PipelineConfig, place: S3Place, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keys = place.server.ingest
    caplog.set_level(logging.DEBUG)
    drained(config)
    verified(config)
    with open_lake(config.lake) as lake:
        lists = ["databases()", "settings()", "secrets()", "views()", "logs"]
        listed = {name: lake.execute(f"FROM duckdb_{name}") for name in lists}
        snapshots = lake.execute("FROM ducklake_snapshots('lake')")
        options = lake.execute("FROM ducklake_options('lake')")
    shown = f"{listed} {snapshots} {options} {config!r} {lake.store!r} {caplog.text}"
    assert place.bucket in shown
    assert_absent(shown, keys.secret)
    listed.pop("secrets()")  # DuckDB names the key there, and not its secret
    assert_absent(f"{listed} {snapshots} {options} {config!r} {lake.store!r} {caplog.text}", f"key_id={keys.access}")
    for file in (file for file in tmp_path.rglob("*") if file.is_file()):
        assert keys.secret.encode() not in file.read_bytes(), file
    for file in place.objects():
        assert keys.secret.encode() not in file.read_bytes(), file


@pytest.mark.parametrize(
    "environ",
    [
        {"AWS_SECRET_ACCESS_KEY": "canary-of-a-secret"},
        {"AWS_ACCESS_KEY_ID": "canary-of-a-key-id"},
        {"AWS_SESSION_TOKEN": TOKEN, "AWS_SECRET_ACCESS_KEY": "canary-of-a-secret"},
        {"AWS_SECRET_ACCESS_KEY": "canary-of-a-secret", "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1"},
    ],
)
def test_keys_that_are_refused_are_not_quoted(
    config: PipelineConfig,
    place: S3Place,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    environ: dict[str, str],
) -> None:
    caplog.set_level(logging.DEBUG)
    drained(config)
    data = [f"s3://{file.relative_to(place.server.data)}" for file in place.objects()]
    produce(config, events(), range(MESSAGES, MESSAGES + 1))
    variables_of_s3(monkeypatch, place.server.environ() | environ)
    monkeypatch.setattr("arrow_ingest.lake.s3_store.ATTEMPTS", 1)
    said = []
    with pytest.raises(ArrowIngestError) as by_pyarrow:
        drained(config)
    said.append(said_by(by_pyarrow.value))
    with open_lake(config.lake) as lake:
        for statement in ("FROM read_parquet(?)", "COPY (SELECT 1 AS a) TO '{}x'"):
            with pytest.raises(ArrowIngestError) as by_duckdb:
                lake.execute(statement.format(config.lake.data_path), [data[0]] if "?" in statement else [])
            said.append(said_by(by_duckdb.value))
    crashed = drain_in_a_process(config, Point.COMMITTED.value)
    said += [crashed.stdout, crashed.stderr, caplog.text]
    assert crashed.returncode == 1
    assert_absent("\n".join(said), *(canary for canary in environ.values() if canary.startswith("canary")))


def test_answers_that_quote_the_key_are_not_passed_on(
    config: PipelineConfig, place: S3Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As AWS does: `InvalidAccessKeyId` names the key that was used."""
    drained(config)
    with S3Proxy(place.server.endpoint) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.endpoint)
        quoted = "InvalidAccessKeyId</Code><AWSAccessKeyId>canary</AWSAccessKeyId><Code>"
        proxy.refuse("GET", status=403, code=quoted)
        proxy.refuse("HEAD", status=403, code=quoted)
        with open_lake(config.lake) as lake, pytest.raises(ArrowIngestError, match="InvalidAccessKeyId") as refused:
            lake.execute("SELECT sum(length(uuid)) FROM lake.main.events")
    assert_absent(said_by(refused.value), "canary")
