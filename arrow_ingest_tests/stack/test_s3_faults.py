"""An S3 server that is busy, silent, gone or refuses: exactly once, or an error that names the remedy; nothing lost."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from arrow_ingest.cli.exits import Exit, exit_code
from arrow_ingest.config import PipelineConfig
from arrow_ingest.demo.broker import EmbeddedBroker
from arrow_ingest.errors import CatalogUnavailable, ConfigError
from arrow_ingest.lake import s3_store
from arrow_ingest.lake.probe import probe_data_path
from arrow_ingest.producer.events import EventGenerator
from arrow_ingest.stack.s3_request import Keys
from arrow_ingest_tests.lake_contents import PARTITIONS, assert_holds_exactly, assert_verified, drained, produce
from arrow_ingest_tests.s3_proxy import S3Proxy
from arrow_ingest_tests.stack.s3_lakes import (
    MESSAGES,
    S3Place,
    produce_large,
    s3_pipeline,
    verified,
)
from arrow_ingest_tests.worlds import variables_of_s3

pytestmark = pytest.mark.stack

OF_ONE_DAY = "19/lane-0"
"""In the names of one day's files, however a client spells the equals sign before it."""


@pytest.fixture
def proxy(place: S3Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Proxy]:
    """What the environment takes for the server. Patience is shortened, lest silence take minutes."""
    monkeypatch.setattr(s3_store, "SILENCE_SECONDS", 1.0)
    monkeypatch.setattr(s3_store, "ATTEMPTS", 3)
    monkeypatch.setattr(s3_store, "WRITER_SECONDS", 1)
    with S3Proxy(place.server.endpoint) as running:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", running.endpoint)
        yield running


@pytest.fixture
def config(
    tmp_path: Path, broker: EmbeddedBroker, topic: Any, place: S3Place, generator: EventGenerator
) -> PipelineConfig:
    """A pipeline with messages to drain."""
    made = s3_pipeline(tmp_path, broker.bootstrap_servers, topic(partitions=PARTITIONS), place)
    produce(made, generator, range(MESSAGES))
    return made


@pytest.mark.parametrize("method", ["PUT", "HEAD", "GET"])
@pytest.mark.parametrize("trouble", ["busy", "silent", "answer lost"])
def test_trouble_that_is_soon_over_is_waited_out(
    config: PipelineConfig, proxy: S3Proxy, generator: EventGenerator, method: str, trouble: str
) -> None:
    """PUT writes files; HEAD and GET read their footers within the transaction."""
    match trouble:
        case "busy":
            fault = proxy.refuse(method, ".parquet", status=503, code="SlowDown", times=2)
        case "silent":
            fault = proxy.be_silent(method, ".parquet", times=1)
        case _:
            fault = proxy.lose_answer(method, ".parquet", times=1)
    drained(config)
    assert fault.happened.is_set()
    assert_holds_exactly(config, generator, MESSAGES)
    assert_verified(config)


@pytest.mark.parametrize("trouble", ["busy", "silent"])
def test_files_that_cannot_be_written_end_the_run_and_the_next_one_loses_nothing(
    config: PipelineConfig, proxy: S3Proxy, place: S3Place, generator: EventGenerator, trouble: str
) -> None:
    fault = (
        proxy.refuse("PUT", OF_ONE_DAY, status=503, code="SlowDown")
        if trouble == "busy"
        else proxy.be_silent("PUT", OF_ONE_DAY)
    )
    with pytest.raises(CatalogUnavailable, match="PutObject"):
        drained(config)
    assert fault.happened.is_set()
    fault.times = 0
    drained(config)
    assert_holds_exactly(config, generator, MESSAGES)
    assert_verified(config)
    assert len(place.objects()) > verified(config).numbers["files"]


@pytest.fixture
def large(tmp_path: Path, broker: EmbeddedBroker, topic: Any, place: S3Place) -> PipelineConfig:
    """A pipeline with messages to drain whose file has two parts or more."""
    settings = {"flush": {"max_bytes": "64MiB"}, "parquet": {"threads": 1}}
    made = s3_pipeline(tmp_path, broker.bootstrap_servers, topic(), place, **settings)
    produce_large(made, 12)
    return made


@pytest.mark.parametrize("lost", ["partNumber=2", "uploadId", "uploads"])
def test_upload_in_parts_that_fails_is_not_committed(
    large: PipelineConfig, place: S3Place, proxy: S3Proxy, lost: str
) -> None:
    fault = proxy.refuse("PUT" if "part" in lost else "POST", lost, status=500, code="InternalError")
    with pytest.raises(CatalogUnavailable, match="INTERNAL_FAILURE"):
        drained(large)
    assert place.objects() == []
    fault.times = 0
    [receipt] = drained(large)
    assert receipt.tally.rows == 12
    assert_verified(large)


def test_answer_to_the_end_of_an_upload_that_is_lost_costs_at_most_a_run(large: PipelineConfig, proxy: S3Proxy) -> None:
    lost = proxy.lose_answer("POST", "uploadId")
    try:
        receipts = drained(large)
    except CatalogUnavailable:
        receipts = drained(large)
    assert lost.happened.is_set()
    assert sum(receipt.tally.rows for receipt in receipts) == 12
    assert verified(large).numbers["rows"] == 12
    assert_verified(large)


def test_footers_that_cannot_be_read_end_the_run_and_the_next_one_loses_nothing(
    config: PipelineConfig, proxy: S3Proxy, generator: EventGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("arrow_ingest.lake.commit.RETRY_SECONDS", 1.0)
    fault = proxy.refuse("GET", ".parquet", status=503, code="SlowDown")
    with pytest.raises(CatalogUnavailable, match="HTTP 503 SlowDown"):
        drained(config)
    fault.times = 0
    drained(config)
    assert_holds_exactly(config, generator, MESSAGES)
    assert_verified(config)


def test_verify_calls_no_file_damaged_because_the_server_is_busy(config: PipelineConfig, proxy: S3Proxy) -> None:
    drained(config)
    proxy.refuse("GET", ".parquet", status=503, code="SlowDown")
    with pytest.raises(CatalogUnavailable, match="SLOW_DOWN"):
        verified(config)


# What a person has to change


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, r"lake\.s3: .*SIGNATURE_DOES_NOT_MATCH.*AWS_SECRET_ACCESS_KEY"),
        ({"AWS_ACCESS_KEY_ID": "nobody"}, r"lake\.s3: .*INVALID_ACCESS_KEY_ID.*AWS_ACCESS_KEY_ID"),
        ({"AWS_REGION": "eu-west-1"}, r"lake\.s3\.region: .*AuthorizationHeaderMalformed.*AWS_REGION"),
        ({"AWS_ACCESS_KEY_ID": ""}, r"lake\.data_path: .*no AWS_ACCESS_KEY_ID"),
        ({"AWS_SECRET_ACCESS_KEY": ""}, r"lake\.data_path: .*no AWS_SECRET_ACCESS_KEY"),
    ],
)
def test_wrong_settings_are_named_and_nothing_is_committed(
    config: PipelineConfig,
    place: S3Place,
    monkeypatch: pytest.MonkeyPatch,
    environ: dict[str, str],
    said: str,
) -> None:
    variables_of_s3(monkeypatch, place.server.environ() | environ)
    for attempt in (lambda: drained(config), lambda: probe_data_path(config.lake)):
        with pytest.raises(ConfigError, match=said) as refused:
            attempt()
        assert exit_code(refused.value) is Exit.USAGE
    assert place.objects() == []


def test_a_bucket_that_is_not_there_is_named(config: PipelineConfig, place: S3Place) -> None:
    lake = config.lake.model_copy(update={"data_path": "s3://no-such-bucket/data"})
    with pytest.raises(
        ConfigError, match=r"lake\.data_path: .*s3://no-such-bucket/.*NO_SUCH_BUCKET.*create the bucket"
    ):
        drained(config.model_copy(update={"lake": lake}))
    assert not (place.server.data / "no-such-bucket").exists()


def test_a_key_that_may_not_write_is_told_so(
    config: PipelineConfig, place: S3Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = Keys("reader", "readersecret")
    place.server._administer("create-user", "--access", reader.access, "--secret", reader.secret, "--role", "user")
    variables_of_s3(monkeypatch, place.server.environ(reader))
    with pytest.raises(ConfigError, match=r"lake\.data_path: .*ACCESS_DENIED.*PutObject"):
        drained(config)
    assert place.objects() == []


def test_a_key_that_may_not_read_is_told_so_before_anything_is_committed(
    config: PipelineConfig, proxy: S3Proxy
) -> None:
    proxy.refuse("HEAD", ".parquet", status=403, code="AccessDenied")
    proxy.refuse("GET", ".parquet", status=403, code="AccessDenied")
    with pytest.raises(ConfigError, match=r"lake\.data_path: .*HTTP 403 AccessDenied.*GetObject"):
        drained(config)
    with pytest.raises(ConfigError, match="GetObject"):
        probe_data_path(config.lake.model_copy(update={"data_path": f"{config.lake.data_path}x.parquet"}))


def test_temporary_keys_that_have_expired_are_told_and_may_be_renewed(
    config: PipelineConfig, proxy: S3Proxy, generator: EventGenerator
) -> None:
    expired = proxy.refuse("PUT", status=400, code="ExpiredToken")
    with pytest.raises(CatalogUnavailable, match="renew AWS_SESSION_TOKEN"):
        drained(config)
    expired.times = 0
    drained(config)
    assert_holds_exactly(config, generator, MESSAGES)


def test_a_server_that_is_not_there_may_be_later(config: PipelineConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_store, "ATTEMPTS", 2)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    with pytest.raises(CatalogUnavailable, match=r"NETWORK_CONNECTION.*AWS_ENDPOINT_URL_S3") as down:
        drained(config)
    assert exit_code(down.value) is Exit.UNREACHABLE
