"""A broker's place in a cluster in, its ``server.properties`` out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from arrow_ingest.stack.tls import ServerCertificate

MIB = 1024 * 1024
MAX_MESSAGE_BYTES = 17 * MIB
"""Payloads of 16 MiB, and room for keys, headers and the record batch around them."""

SCRAM = "SCRAM-SHA-512"


@dataclass(frozen=True, slots=True)
class Node:
    """One process of the cluster, broker and controller in one. Ports are on the loopback interface."""

    number: int
    port: int
    controller_port: int
    secure_port: int | None

    @property
    def address(self) -> str:
        """Where clients connect without a password."""
        return f"127.0.0.1:{self.port}"


def broker_properties(
    node: Node, nodes: Sequence[Node], data: Path, certificate: ServerCertificate | None, settings: Mapping[str, str]
) -> dict[str, str]:
    """The properties of one node of ``nodes``.

    Three nodes are all voters of the metadata quorum and hold a copy of every partition, so that the cluster goes on
    when any one of them is gone.

    Args:
        data: the folder of its log.
        certificate: makes it listen with TLS and passwords too, on ``secure_port``.
        settings: win over the rest.
    """
    copies = min(len(nodes), 3)
    listeners = {"PLAINTEXT": node.address, "CONTROLLER": f"127.0.0.1:{node.controller_port}"}
    properties = {
        "process.roles": "broker,controller",
        "node.id": str(node.number),
        "controller.quorum.voters": ",".join(f"{n.number}@127.0.0.1:{n.controller_port}" for n in nodes),
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": str(data),
        "default.replication.factor": str(copies),
        "min.insync.replicas": str(max(1, copies - 1)),
        "offsets.topic.replication.factor": str(copies),
        "offsets.topic.num.partitions": "1",
        "transaction.state.log.replication.factor": str(copies),
        "transaction.state.log.min.isr": str(max(1, copies - 1)),
        "transaction.state.log.num.partitions": "1",
        "message.max.bytes": str(MAX_MESSAGE_BYTES),
        "replica.fetch.max.bytes": str(MAX_MESSAGE_BYTES),
        # A misspelt topic is an error, here as with the embedded broker.
        "auto.create.topics.enable": "false",
        # What was produced stays, whatever its timestamps are.
        "log.retention.ms": "-1",
        "group.initial.rebalance.delay.ms": "0",
        # A lost broker is noticed after 2 s rather than 9.
        "broker.session.timeout.ms": "2000",
        "broker.heartbeat.interval.ms": "500",
    }
    if certificate is not None:
        listeners["SASL_SSL"] = f"127.0.0.1:{node.secure_port}"
        properties |= _secure_listener(node, certificate)
    properties["listeners"] = ",".join(f"{name}://{address}" for name, address in listeners.items())
    return properties | dict(settings)


def _secure_listener(node: Node, certificate: ServerCertificate) -> dict[str, str]:
    listener, mechanism = "listener.name.sasl_ssl", SCRAM.lower()
    return {
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL",
        # By the name in the certificate; the others are advertised as they listen.
        "advertised.listeners": f"PLAINTEXT://{node.address},SASL_SSL://{certificate.host}:{node.secure_port}",
        f"{listener}.sasl.enabled.mechanisms": SCRAM,
        f"{listener}.{mechanism}.sasl.jaas.config": (
            "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        ),
        f"{listener}.ssl.keystore.type": "PKCS12",
        f"{listener}.ssl.keystore.location": str(certificate.keystore),
        f"{listener}.ssl.keystore.password": certificate.password,
        f"{listener}.ssl.key.password": certificate.password,
    }


def properties_file(properties: Mapping[str, str]) -> str:
    r"""The text of a Java properties file.

    >>> properties_file({"log.dirs": "/a b", "x": "c\\d"})
    'log.dirs=/a b\nx=c\\\\d\n'
    """
    return "".join(f"{name}={value.replace(chr(92), chr(92) * 2)}\n" for name, value in properties.items())
