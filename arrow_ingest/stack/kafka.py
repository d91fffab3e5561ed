"""A number of brokers in, a running Apache Kafka cluster out (KRaft), each broker a JVM of its own.

Started by Kafka's official jars and made for tests and for hand: the JVMs compile quickly rather than well and take
little memory, and every setting may be given. One broker is ready after 4 s on two cores (1 s of it formats its
folder, 1 s more could be saved by an archive of loaded classes, which is not worth a 50 MB file), takes 350 MB and
stops in 0.4 s.
"""

import base64
import secrets
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, ClusterMetadata

from arrow_ingest.errors import StackFailed
from arrow_ingest.stack import programs as installed
from arrow_ingest.stack.child import ChildServer, free_port, is_listening
from arrow_ingest.stack.kafka_settings import SCRAM, Node, broker_properties, properties_file
from arrow_ingest.stack.secret import new_secret
from arrow_ingest.stack.tls import ServerCertificate, make_certificate

READY_SECONDS = 90.0
TOOL_SECONDS = 90.0
SECURE_HOST = "localhost"
"""The name in the certificate. 127.0.0.1 leads to the same brokers and is not in it."""

TOOLS = {
    "kafka-configs": "org.apache.kafka.tools.ConfigCommand",
    "kafka-consumer-groups": "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
    "kafka-delete-records": "org.apache.kafka.tools.DeleteRecordsCommand",
    "kafka-topics": "org.apache.kafka.tools.TopicCommand",
}
"""Kafka's own command line tools, as the official archive names its scripts."""

_JVM = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")


@dataclass(frozen=True, slots=True)
class Login:
    """How a client enters the listeners with TLS and passwords, as librdkafka's properties name it."""

    bootstrap_servers: str
    ca_file: Path
    user: str
    password: str = field(repr=False)

    def properties(self) -> dict[str, str]:
        """For ``kafka.properties`` of a pipeline."""
        return {
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": SCRAM,
            "sasl.username": self.user,
            "sasl.password": self.password,
            "ssl.ca.location": str(self.ca_file),
        }


class Broker:
    """One node of a cluster. It keeps its data and its ports when it is started again.

    Args:
        data: the folder of its log.
    """

    def __init__(self, node: Node, command: list[str], data: Path) -> None:
        self.node = node
        self.data = data
        self._command = command
        self._child: ChildServer | None = None

    @property
    def pid(self) -> int:
        """Its process id; only while it runs."""
        assert self._child is not None
        return self._child.pid

    def begin(self) -> None:
        """Start the process, without waiting until it serves."""
        log_file = self.data.with_suffix(".log")
        self._child = ChildServer(
            f"Kafka broker {self.node.number}", self._command, log_file=log_file, folder=self.data
        )

    def wait(self) -> None:
        """Wait until it serves and knows itself as a part of the cluster.

        Raises:
            StackFailed: it ended, or took too long.
        """
        assert self._child is not None
        self._child.wait_until(lambda: self.node.number in known_brokers(self.node), READY_SECONDS)

    def start(self) -> None:
        """Start it and wait until it serves.

        Raises:
            StackFailed: it ended, or took too long.
        """
        self.begin()
        self.wait()

    def stop(self) -> None:
        """End it in order: it hands its leaderships over first."""
        if self._child is not None:
            self._child.stop()

    def kill(self) -> None:
        """End it by SIGKILL."""
        if self._child is not None:
            self._child.kill()


class KafkaCluster:
    """A running cluster; a context manager.

    Args:
        folder: gets the data, settings and logs. What an earlier cluster left there must not be.
        brokers: 1, or 3, of which any one may be gone.
        settings: brokers' properties that win over ours.
        programs: where the jars are or are brought to.
        secure: listen with TLS and SCRAM too: see ``login``.
        heap_mib: the most that a broker's Java objects take.

    Raises:
        MissingPart: Java is absent, or the jars cannot be brought.
        StackFailed: a broker did not start.
    """

    def __init__(
        self,
        folder: Path,
        brokers: int = 1,
        settings: Mapping[str, str] | None = None,
        *,
        programs: Path = installed.DEFAULT_FOLDER,
        secure: bool = False,
        heap_mib: int = 512,
    ) -> None:
        self._folder = folder.absolute()
        self._settings = dict(settings or {})
        self._java = installed.java()
        jars = installed.kafka(programs)
        self._jvm = [str(self._java), *_JVM, f"-Xmx{heap_mib}m", "-cp", f"{jars}/*"]
        self.nodes = tuple(
            Node(number, free_port(), free_port(), free_port() if secure else None) for number in range(1, brokers + 1)
        )
        self.brokers: dict[int, Broker] = {}
        self._secure = secure
        self.login: Login | None = None

    @property
    def bootstrap_servers(self) -> str:
        """Where clients connect without TLS and without a password."""
        return ",".join(node.address for node in self.nodes)

    def __enter__(self) -> Self:
        try:
            self._format()
            for broker in self.brokers.values():
                broker.begin()
            for broker in self.brokers.values():
                broker.wait()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """End all brokers, by force when there are several: the last of them could not leave in order."""
        for broker in self.brokers.values():
            broker.stop() if len(self.brokers) == 1 else broker.kill()

    def tool(self, name: str, *arguments: str) -> str:
        """Run one of Kafka's own command line tools (see `TOOLS`) against the cluster; what it printed.

        Raises:
            StackFailed: it ended with an error.
        """
        return self._run(name, TOOLS[name], "--bootstrap-server", self.bootstrap_servers, *arguments)

    def leader(self, topic: str, partition: int = 0) -> Broker:
        """The broker that leads a partition at this moment.

        Raises:
            StackFailed: there is none.
        """
        found = _metadata(self.bootstrap_servers).topics[topic].partitions[partition].leader
        if found not in self.brokers:
            raise StackFailed(f"partition {partition} of {topic}", "it has no leader")
        return self.brokers[found]

    def _format(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        certificate = self._certificate()
        # Sixteen bytes in base64, the first of them zero: an id that began with a dash would be taken for an option.
        cluster = base64.urlsafe_b64encode(bytes(1) + secrets.token_bytes(15)).decode().rstrip("=")
        scram: tuple[str, ...] = ()
        if self.login is not None:
            scram = ("--add-scram", f'{SCRAM}=[name="{self.login.user}",password="{self.login.password}"]')
        for node in self.nodes:
            data = self._folder / f"broker-{node.number}"
            data.mkdir()
            file = self._folder / f"broker-{node.number}.properties"
            file.write_text(
                properties_file(broker_properties(node, self.nodes, data, certificate, self._settings)), "utf-8"
            )
            self._run("kafka-storage", "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(file), *scram)
            self.brokers[node.number] = Broker(node, [*self._jvm, "kafka.Kafka", str(file)], data)

    def _certificate(self) -> ServerCertificate | None:
        if not self._secure:
            return None
        certificate = make_certificate(self._folder, self._java, SECURE_HOST, new_secret())
        servers = ",".join(f"{SECURE_HOST}:{node.secure_port}" for node in self.nodes)
        self.login = Login(servers, certificate.ca_file, "arrow", new_secret())
        return certificate

    def _run(self, name: str, main: str, *arguments: str) -> str:
        done = subprocess.run(
            [*self._jvm, main, *arguments], capture_output=True, text=True, check=False, timeout=TOOL_SECONDS
        )
        if done.returncode != 0:
            raise StackFailed(name, done.stdout + done.stderr)
        return done.stdout


def known_brokers(node: Node) -> frozenset[int]:
    """The brokers that are alive in the eyes of one of them; none when it does not answer."""
    if not is_listening(node.port):
        return frozenset()
    try:
        return frozenset(_metadata(node.address).brokers)
    except KafkaException:
        return frozenset()


def _metadata(bootstrap_servers: str) -> ClusterMetadata:
    client = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0})
    return client.list_topics(timeout=5)
