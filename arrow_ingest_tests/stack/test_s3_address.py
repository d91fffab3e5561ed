"""How a bucket is reached: by virtual hosts, by a DuckDB secret, by keys that name anything."""

from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from arrow_ingest.config import LakeConfig, PipelineConfig
from arrow_ingest.demo.broker import EmbeddedBroker
from arrow_ingest.producer.arrow import ArrowProducer
from arrow_ingest.producer.events import EventGenerator
from arrow_ingest.stack.s3 import S3Server
from arrow_ingest_tests.conftest import PROGRAMS
from arrow_ingest_tests.lake_contents import (
    PARTITIONS,
    assert_holds_exactly,
    assert_verified,
    drained,
    produce,
    query,
)
from arrow_ingest_tests.s3_proxy import S3Proxy
from arrow_ingest_tests.stack.s3_lakes import (
    MESSAGES,
    S3Place,
    s3_pipeline,
)
from arrow_ingest_tests.worlds import variables_of_s3

pytestmark = pytest.mark.stack


def test_virtual_host_style(
    tmp_path: Path, broker: EmbeddedBroker, topic: Any, generator: EventGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Both clients take every name below localhost for this machine without asking anybody.
    with S3Server(tmp_path / "s3", programs=PROGRAMS, domain="localhost") as server, S3Proxy(server.endpoint) as proxy:
        variables_of_s3(monkeypatch, server.environ())
        place = S3Place(server, server.new_bucket())
        endpoint = proxy.endpoint.replace("127.0.0.1", "localhost")
        lake = place.lake(tmp_path, endpoint=endpoint, url_style="vhost")
        config = s3_pipeline(tmp_path, broker.bootstrap_servers, topic(partitions=PARTITIONS), place, lake=lake)
        produce(config, generator, range(MESSAGES))
        drained(config)
        assert_holds_exactly(config, generator, MESSAGES)
        assert_verified(config)
    assert not any(place.bucket in request for request in proxy.requests)


def test_keys_and_address_from_a_duckdb_secret(
    tmp_path: Path, config: PipelineConfig, place: S3Place, generator: EventGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    keys = place.server.ingest
    with duckdb.connect() as connection:
        connection.execute("SET autoinstall_known_extensions = false")
        connection.execute(f"LOAD '{httpfs()}'")
        connection.execute(
            "CREATE PERSISTENT SECRET lake_files (TYPE s3, KEY_ID $key, SECRET $secret, ENDPOINT $endpoint, "
            "URL_STYLE 'path', USE_SSL false)",
            {"key": keys.access, "secret": keys.secret, "endpoint": place.server.endpoint.removeprefix("http://")},
        )
    variables_of_s3(monkeypatch, {})
    lake = LakeConfig.model_validate(config.lake.model_dump(by_alias=True) | {"s3": {"secret": "lake_files"}})
    config = config.model_copy(update={"lake": lake})
    produce(config, generator, range(MESSAGES))
    drained(config)
    assert_holds_exactly(config, generator, MESSAGES)
    assert_verified(config)


def httpfs() -> Path:
    """The extension's binary, as a person's own DuckDB would have it."""
    import duckdb_extension_httpfs

    [binary] = Path(duckdb_extension_httpfs.__path__[0]).rglob("httpfs.duckdb_extension")
    return binary


def test_values_that_no_url_takes_name_folders_all_the_same(
    tmp_path: Path, broker: EmbeddedBroker, topic: Any, place: S3Place
) -> None:
    config = s3_pipeline(
        tmp_path, broker.bootstrap_servers, topic(), place, columns={}, partition_by={"column": "team", "unit": "value"}
    )
    teams = ["a/b", "100 %", "?s3_region=x", "*[x]", "größe", "a+b&c=d", "", None]
    with ArrowProducer(config.kafka.topic, {"bootstrap.servers": config.kafka.bootstrap_servers}) as producer:
        producer.send(pa.record_batch({"team": pa.array(teams), "n": pa.array(range(len(teams)))}), partition=0)
    [receipt] = drained(config)
    assert len(receipt.touched) == len(teams)
    found = query(config, "SELECT team FROM lake.main.events ORDER BY n").to_pylist()
    assert [row["team"] for row in found] == teams
    assert query(config, "SELECT n FROM lake.main.events WHERE team = '?s3_region=x'").to_pylist() == [{"n": 2}]
    assert_verified(config)
