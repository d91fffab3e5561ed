"""A TCP proxy before PostgreSQL that loses what a test wants lost."""

import socket
import threading
from contextlib import suppress
from enum import Enum
from typing import Self

_ADDS_FILES = b".ducklake_data_file VALUES"
"""What DuckLake sends in the transaction of a micro-batch, and in no other of a drain."""

_KEY_DATA = b"K\x00\x00\x00\x0c"
"""How the message begins that tells a client its server's process id, in the four bytes that follow."""


class Fault(Enum):
    """What goes wrong, once; afterwards everything is passed on."""

    COMMIT_LOST = "COMMIT does not arrive"
    ANSWER_LOST = "COMMIT arrives, its answer does not"
    OTHER_PROCESS_ID = "the process id is not the server's, as behind a pooler; always"


class PostgresProxy:
    """Forwards connections to a server; a context manager. The COMMIT of a micro-batch, or its answer, is lost."""

    def __init__(self, server_port: int, fault: Fault) -> None:
        self._server_port = server_port
        self._fault = fault
        self.happened = threading.Event()

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                try:
                    server = socket.create_connection(("127.0.0.1", self._server_port))
                except OSError:  # it is down at this moment
                    client.close()
                else:
                    _Connection(self, client, server).start()

    def strikes(self, fault: Fault) -> bool:
        """Whether it goes wrong now; once true, never again."""
        strikes = self._fault is fault and not self.happened.is_set()
        if strikes:
            self.happened.set()
        return strikes

    @property
    def forges_process_id(self) -> bool:
        return self._fault is Fault.OTHER_PROCESS_ID


class _Connection:
    def __init__(self, proxy: PostgresProxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._is_amid = False
        self._swallows = False

    def start(self) -> None:
        threading.Thread(target=self._to_server, daemon=True).start()
        threading.Thread(target=self._to_client, daemon=True).start()

    def _to_server(self) -> None:
        with suppress(OSError):
            while data := self._client.recv(1 << 20):
                self._is_amid = self._is_amid or _ADDS_FILES in data
                if self._is_amid and b"COMMIT" in data.upper().split(b"VALUES")[-1]:
                    if self._proxy.strikes(Fault.COMMIT_LOST):
                        break
                    self._swallows = self._proxy.strikes(Fault.ANSWER_LOST)
                self._server.sendall(data)
        self._cut()

    def _to_client(self) -> None:
        with suppress(OSError):
            while data := self._server.recv(1 << 20):
                if self._swallows:  # the server has done what it answers to
                    break
                self._client.sendall(self._forged(data) if self._proxy.forges_process_id else data)
        self._cut()

    def _forged(self, data: bytes) -> bytes:
        before, found, after = data.partition(_KEY_DATA)
        return before + found + b"\x00\x00\x00\x01" + after[4:] if found else data

    def _cut(self) -> None:
        for end in (self._client, self._server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
