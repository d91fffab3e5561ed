"""A TCP proxy before PostgreSQL that counts what it is asked, and cuts the line around one request of a run's.

A request is what a client sends before it waits for an answer: a statement, a part of a COPY, the start of a session.
"""

import re
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import Self

_FAREWELL = b"X"
"""How a client takes its leave; it waits for no answer."""

_WRITES = ("Q INSERT", "Q UPDATE", "Q DELETE", "Q CREATE", "Q DROP", "d ")
"""Statements that write, and the data of a COPY."""

_COMMIT = "Q COMMIT"


class Side(Enum):
    """Where a cut lies."""

    BEFORE = "before"
    AFTER = "after"


@dataclass(frozen=True, slots=True)
class Cut:
    """What goes wrong: the line is cut before a request arrives, or once the server has done what it says.

    Args:
        request: as `shown` shows it, since runs differ in how often they look at what does not change.
        occurrence: which of those that look alike, from 1.
        stays_away: no connection is accepted any more, and all others are cut as well.
    """

    request: str
    occurrence: int
    side: Side
    stays_away: bool = False

    def __str__(self) -> str:
        away = ", away from then on" if self.stays_away else ""
        return f"cut {self.side.value} {self.request[:100]} ({self.occurrence}){away}"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run can be cut.

    Args:
        request, occurrence: as a `Cut` names it.
        is_commit: of a transaction that writes.
    """

    request: str
    occurrence: int
    is_commit: bool = False

    @property
    def writes(self) -> bool:
        """Whether something is written there, or committed."""
        return self.is_commit or self.request.startswith(_WRITES)

    def cut(self, side: Side, *, stays_away: bool = False) -> Cut:
        """The line cut there."""
        return Cut(self.request, self.occurrence, side, stays_away)


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked, without its values, and over which connection."""

    connection: int
    says: str


@dataclass
class Passage:
    """One run through the proxy: what was asked, in order, and whether the cut was reached."""

    cut: Cut | None
    requests: list[Request] = field(default_factory=list)
    happened: threading.Event = field(default_factory=threading.Event)

    def places(self) -> tuple[Place, ...]:
        """Where a run like this one can be cut.

        Each statement of every transaction that writes, where several look alike the first of them; where no
        transaction writes, the first of each statement.
        """
        counts: Counter[str] = Counter()
        read: dict[Place, None] = {}
        written: dict[Place, None] = {}
        open_ones: dict[int, dict[str, Place]] = {}
        for request in self.requests:
            counts[request.says] += 1
            read.setdefault(Place(request.says, 1))
            if request.says.startswith("Q BEGIN"):
                open_ones[request.connection] = {}
            held = open_ones.get(request.connection)
            if held is None:
                continue
            held.setdefault(request.says, Place(request.says, counts[request.says], request.says == _COMMIT))
            if request.says == _COMMIT:
                if any(says.startswith(_WRITES) for says in held):
                    written.update(dict.fromkeys(held.values()))
                del open_ones[request.connection]
        return tuple(written or read)


class CuttingProxy:
    """Forwards connections to a server; a context manager. One run at a time."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._passage = Passage(None)

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut_all()

    @contextmanager
    def passage(self, cut: Cut | None = None) -> Iterator[Passage]:
        """Count a run's requests, and cut it; afterwards nothing of it is open any more."""
        with self._lock:
            self._passage = passage = Passage(cut)
        try:
            yield passage
        finally:
            self.cut_all()

    @property
    def is_away(self) -> bool:
        """Whether the server is out of reach by now."""
        cut = self._passage.cut
        return cut is not None and cut.stays_away and self._passage.happened.is_set()

    def asks(self, connection: int, request: bytes) -> Side | None:
        """Count a request; where it is cut, if it is."""
        with self._lock:
            passage, said = self._passage, shown(request)
            passage.requests.append(Request(connection, said))
            cut = passage.cut
            if cut is None or cut.request != said:
                return None
            if cut.occurrence != sum(asked.says == said for asked in passage.requests):
                return None
            passage.happened.set()
        if cut.stays_away and cut.side is Side.BEFORE:
            self.cut_all()
        return cut.side

    def loses_answer(self) -> None:
        """The server has answered the request; nobody hears of it."""
        if self.is_away:
            self.cut_all()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                try:
                    if self.is_away:
                        raise ConnectionRefusedError
                    server = socket.create_connection(("127.0.0.1", self._server_port))
                except OSError:
                    client.close()
                    continue
                with self._lock:
                    self._open |= {client, server}
                _Connection(self, client, server).start()

    def close(self, *ends: socket.socket) -> None:
        """Cut one connection."""
        with self._lock:
            self._open -= set(ends)
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def cut_all(self) -> None:
        """Cut every connection that is open now."""
        with self._lock:
            ends = tuple(self._open)
        self.close(*ends)


class _Connection:
    """One client; requests are told apart by whose turn it is."""

    def __init__(self, proxy: CuttingProxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._is_servers_turn = False
        self._cut: Side | None = None

    def start(self) -> None:
        threading.Thread(target=self._to_server, daemon=True).start()
        threading.Thread(target=self._to_client, daemon=True).start()

    def _to_server(self) -> None:
        with suppress(OSError):
            while data := self._client.recv(1 << 20):
                if not self._is_servers_turn and data[:1] != _FAREWELL:
                    self._is_servers_turn = True
                    self._cut = self._proxy.asks(id(self), data)
                if self._cut is Side.BEFORE:
                    break
                self._server.sendall(data)
        self._proxy.close(self._client, self._server)

    def _to_client(self) -> None:
        tail = b""
        with suppress(OSError):
            while data := self._server.recv(1 << 20):
                tail = (tail + data)[-64:]
                is_answered = ends_answer(tail)
                if self._cut is Side.AFTER:
                    if not is_answered:
                        continue  # it is not done yet
                    self._proxy.loses_answer()
                    break
                if is_answered:
                    self._is_servers_turn = False
                self._client.sendall(data)
        self._proxy.close(self._client, self._server)


def ends_answer(tail: bytes) -> bool:
    r"""Whether what the server sent last is a message after which it waits.

    >>> ends_answer(b"C\x00\x00\x00\x0bCOMMIT\x00Z\x00\x00\x00\x05I")
    True
    >>> ends_answer(b"D\x00\x00\x00\x07row")
    False
    >>> ends_answer(b"D\x00\x00\x00\x07G\x00\x00")
    False
    """
    is_ready = len(tail) >= 6 and tail[-6:-5] == b"Z" and tail[-5:-1] == b"\x00\x00\x00\x05"
    start = tail.rfind(b"G\x00\x00")
    length = tail[start + 1 : start + 5] if start >= 0 else b""
    return is_ready or (len(length) == 4 and struct.unpack(">I", length)[0] == len(tail) - start - 1)


def shown(request: bytes) -> str:
    r"""A request's beginning without its values, by which the same statement is known again in another run.

    DuckLake names the columns that it reads in another order each time.

    >>> shown(b"Q\x00\x00\x00\x18INSERT INTO t VALUES (7, 'x')\x00")
    'Q INSERT INTO t VALUES (0, 0)'
    >>> shown(b'Q\x00\x00\x00\x18COPY (SELECT "b", "a" FROM t)\x00')
    'Q COPY (SELECT "a", "b" FROM t)'
    """
    kind = request[:1].decode("ascii", "replace") if request[:1].isalpha() else "start"
    text = request[5:2048].decode("ascii", "replace")
    text = re.sub(r"'[^']*'?", "0", text.replace("\x00", " "))
    text = re.sub(r"[^ -~]+", " ", re.sub(r"\d+", "0", text))
    text = re.sub(r'SELECT ("?\w+"?(?:, "?\w+"?)+) FROM', lambda found: f"SELECT {_sorted(found[1])} FROM", text)
    return f"{kind} {' '.join(text.split())}"[:300]


def _sorted(names: str) -> str:
    return ", ".join(sorted(names.split(", ")))
