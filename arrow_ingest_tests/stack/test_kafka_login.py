"""TLS and SCRAM: a login that works, and errors that name the setting of one that does not."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from arrow_ingest.config import KafkaConfig, PipelineConfig
from arrow_ingest.errors import ArrowIngestError, ConfigError, DeliveryFailed
from arrow_ingest.kafka.cluster import Cluster
from arrow_ingest.kafka.group_offsets import GroupOffsets
from arrow_ingest.producer.arrow import ArrowProducer
from arrow_ingest.producer.events import EventGenerator
from arrow_ingest.stack.kafka import KafkaCluster, Login
from arrow_ingest_tests.conftest import PROGRAMS, needed, new_topic
from arrow_ingest_tests.kafka_records import wait_for
from arrow_ingest_tests.lake_contents import (
    PARTITIONS,
    ROWS,
    assert_holds_exactly,
    assert_verified,
    drained,
    pipeline,
    produce,
)

pytestmark = pytest.mark.stack


AUTHORIZED = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": "User:ANONYMOUS",
}
"""Whoever logs in may do what is granted, and nothing else. Brokers, and tests that need more, do not log in."""


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaCluster]:
    folder = tmp_path_factory.mktemp("secure")
    with needed(lambda: KafkaCluster(folder, settings=AUTHORIZED, secure=True, programs=PROGRAMS)) as running:
        yield running


@pytest.fixture
def login(secure: KafkaCluster) -> Login:
    assert secure.login is not None
    return secure.login


@pytest.fixture
def config(secure: KafkaCluster, login: Login, tmp_path: Path) -> PipelineConfig:
    """A pipeline that logs in and may read, over a topic that was made without."""
    config = with_login(pipeline(tmp_path, "unused:1", new_topic(secure.bootstrap_servers, PARTITIONS)), login)
    grant(secure, login, ResourceType.TOPIC, config.kafka.topic, AclOperation.READ)
    grant(secure, login, ResourceType.GROUP, config.group, AclOperation.READ)
    return config


def grant(secure: KafkaCluster, login: Login, kind: ResourceType, name: str, operation: AclOperation) -> None:
    """Let the one who logs in do something; ends when the broker, which hears of it from the controller, knows."""
    who = f"User:{login.user}"
    right = (kind, name, ResourcePatternType.LITERAL, who, "*", operation, AclPermissionType.ALLOW)
    admin = AdminClient({"bootstrap.servers": secure.bootstrap_servers})
    for granted in admin.create_acls([AclBinding(*right)]).values():
        granted.result(timeout=10)
    wait_for(lambda: bool(admin.describe_acls(AclBindingFilter(*right)).result(timeout=10)), 60)


def with_login(
    config: PipelineConfig, login: Login, properties: Mapping[str, str | None] | None = None, servers: str | None = None
) -> PipelineConfig:
    """The pipeline with another login; None removes a property."""
    given = {**login.properties(), **(properties or {})}
    kafka = KafkaConfig(
        topic=config.kafka.topic,
        bootstrap_servers=servers or login.bootstrap_servers,
        properties={name: value for name, value in given.items() if value is not None},
    )
    return config.model_copy(update={"kafka": kafka})


def test_a_run_needs_to_read_its_topic_and_its_group_and_may_do_nothing_else(
    config: PipelineConfig, secure: KafkaCluster, login: Login, generator: EventGenerator
) -> None:
    open_to_all = KafkaConfig(topic=config.kafka.topic, bootstrap_servers=secure.bootstrap_servers)
    produce(config.model_copy(update={"kafka": open_to_all}), generator, range(8))
    drained(config)
    assert_holds_exactly(config, generator, 8)
    assert_verified(config)
    with GroupOffsets(open_to_all, config.group) as offsets:
        assert sum(offsets.read().values()) == 8
    servers = {"bootstrap.servers": login.bootstrap_servers}
    with (
        pytest.raises(DeliveryFailed, match=r"(?i)authorization"),
        ArrowProducer(config.kafka.topic, {**servers, **login.properties()}) as mine,
    ):
        mine.send(generator.batch(0, ROWS))
    other = new_topic(secure.bootstrap_servers, PARTITIONS)
    with pytest.raises(ArrowIngestError, match=r"(?i)author"):
        drained(config.model_copy(update={"kafka": config.kafka.model_copy(update={"topic": other})}))


def test_rows_come_through_tls_and_a_scram_login(
    config: PipelineConfig, secure: KafkaCluster, login: Login, generator: EventGenerator
) -> None:
    grant(secure, login, ResourceType.TOPIC, config.kafka.topic, AclOperation.WRITE)
    servers = {"bootstrap.servers": login.bootstrap_servers}
    with ArrowProducer(config.kafka.topic, {**servers, **login.properties()}) as producer:
        for index in range(8):
            producer.send(generator.batch(index, ROWS), partition=index % PARTITIONS)
    drained(config)
    assert_holds_exactly(config, generator, 8)
    assert_verified(config)


@pytest.mark.parametrize(
    ("properties", "setting"),
    [
        ({"sasl.password": "another-word"}, r"sasl\.password"),
        ({"sasl.username": "nobody"}, r"sasl\.username"),
        ({"sasl.mechanism": "SCRAM-SHA-256"}, r"sasl\.mechanism"),
        ({"ssl.ca.location": None}, r"ssl\.ca\.location"),
        ({"security.protocol": "SASL_PLAINTEXT"}, r"security\.protocol"),
        ({"security.protocol": "PLAINTEXT"}, r"security\.protocol"),
    ],
)
def test_a_login_that_fails_names_the_setting_and_shows_no_password(
    config: PipelineConfig, login: Login, properties: Mapping[str, str | None], setting: str
) -> None:
    wrong = with_login(config, login, properties)
    with pytest.raises(ArrowIngestError, match=setting) as refused:
        drained(wrong)
    with Cluster(wrong.kafka) as cluster, pytest.raises(ArrowIngestError, match=setting):
        cluster.topic_state()
    assert login.password not in str(refused.value)
    assert "another-word" not in str(refused.value)


def test_a_certificate_of_another_authority_is_not_trusted(
    config: PipelineConfig, login: Login, tmp_path: Path
) -> None:
    from arrow_ingest.stack import programs
    from arrow_ingest.stack.tls import make_certificate

    other = make_certificate(tmp_path, programs.java(), "localhost", "another-word")
    with pytest.raises(ConfigError, match=r"ssl\.ca\.location"):
        drained(with_login(config, login, {"ssl.ca.location": str(other.ca_file)}))


def test_a_server_by_another_name_than_its_certificates_is_refused(config: PipelineConfig, login: Login) -> None:
    by_number = login.bootstrap_servers.replace("localhost", "127.0.0.1")
    with pytest.raises(ConfigError, match=r"bootstrap_servers"):
        drained(with_login(config, login, servers=by_number))
