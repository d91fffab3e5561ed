"""A folder in, running brokers out: the embedded one always, Apache Kafka where Java and Maven are there."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from arrow_ingest.demo.broker import EmbeddedBroker
from arrow_ingest.stack import programs
from arrow_ingest.stack.kafka import KafkaCluster

EMBEDDED = "embedded"
KAFKA = "kafka"


@dataclass(frozen=True, slots=True)
class RunningBroker:
    """A broker in processes of its own, on this machine's cores.

    Args:
        kind: `EMBEDDED` or `KAFKA`.
        name: as tables show it.
    """

    kind: str
    name: str
    bootstrap_servers: str
    pids: tuple[int, ...]


@contextmanager
def running(kind: str, folder: Path) -> Iterator[RunningBroker]:
    """Start a broker and stop it after the block.

    Raises:
        MissingPart: its programs are not there and cannot be brought.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if kind == EMBEDDED:
        with EmbeddedBroker(log_file=folder / "embedded.log") as embedded:
            yield RunningBroker(kind, "embedded (Tansu, in memory)", embedded.bootstrap_servers, (embedded.pid,))
        return
    version = kafka_version()
    # Twice the heap of tests: consumers ask for responses of 16 MiB, on eight partitions at once.
    with KafkaCluster(folder / "kafka", heap_mib=1024) as cluster:
        pids = tuple(broker.pid for broker in cluster.brokers.values())
        yield RunningBroker(kind, f"Apache Kafka {version}", cluster.bootstrap_servers, pids)


def kafka_version() -> str:
    """The version of the jars, which are brought if need be.

    Raises:
        MissingPart: they cannot be.
    """
    (jar,) = programs.kafka().glob("kafka-clients-*.jar")
    return jar.stem.removeprefix("kafka-clients-")
