"""The facts about librdkafka and its settings that the Kafka room stands on."""

import ctypes
import ctypes.util

import pytest
from confluent_kafka import KafkaError

from arrow_ingest.config import RESERVED_PROPERTIES
from arrow_ingest.errors import MissingPart
from arrow_ingest.kafka.librdkafka import Code, declare, load
from arrow_ingest.kafka.properties import consumer_properties, masked
from arrow_ingest_tests.kafka_records import MIB, kafka_config


@pytest.mark.parametrize("code", [code for code in Code if code is not Code.INVALID_MSG])
def test_error_codes_are_those_of_confluent_kafka(code: Code) -> None:
    named = getattr(KafkaError, code.name, None)
    assert code == (named if named is not None else getattr(KafkaError, f"_{code.name}"))


def test_a_corrupt_message_has_the_code_that_kafka_gives_it() -> None:
    assert KafkaError(int(Code.INVALID_MSG)).name() == "INVALID_MSG"


def test_the_library_is_bound_once() -> None:
    assert load() is load()


@pytest.mark.parametrize("path", [ctypes.util.find_library("c") or "libc.so.6", "/nowhere/librdkafka.so"])
def test_a_library_without_the_symbols_is_a_missing_part(path: str) -> None:
    with pytest.raises(MissingPart, match="pip from PyPI"):
        declare(ctypes.CDLL, path)


def properties(**given: str) -> dict[str, str]:
    kafka = kafka_config("kafka:9092", "t", {name.replace("_", "."): value for name, value in given.items()})
    return consumer_properties(kafka, group="g", max_message_bytes=16 * MIB, max_queued_bytes=32 * MIB)


def test_the_users_properties_win_over_the_defaults() -> None:
    assert properties()["fetch.wait.max.ms"] == "100"
    assert properties(fetch_wait_max_ms="7")["fetch.wait.max.ms"] == "7"


def test_what_exactly_once_rests_on_is_reserved() -> None:
    merged = properties()
    assert set(merged) > RESERVED_PROPERTIES
    assert (merged["isolation.level"], merged["check.crcs"]) == ("read_committed", "true")
    assert (merged["auto.offset.reset"], merged["enable.auto.commit"]) == ("error", "false")


def test_an_alias_cannot_lead_to_another_broker() -> None:
    # librdkafka takes metadata.broker.list for bootstrap.servers; the later of the two wins.
    names = list(properties(metadata_broker_list="elsewhere:9092"))
    assert names.index("metadata.broker.list") < names.index("bootstrap.servers")


@pytest.mark.parametrize("name", ["sasl.password", "ssl.key.password", "ssl.key.pem", "sasl.oauthbearer.client.secret"])
def test_secrets_are_masked(name: str) -> None:
    assert masked({name: "hunter2", "sasl.username": "ann"}) == {name: "***", "sasl.username": "ann"}
