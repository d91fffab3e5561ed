"""An HTTP proxy before an S3 server that answers in its place, or not at all, where a test wants it to.

Requests are passed on as they are, the Host header included, since that is signed.
"""

import http.client
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import urlsplit

_OF_A_CONNECTION = frozenset({"connection", "transfer-encoding", "content-length"})


@dataclass(slots=True)
class Fault:
    """What goes wrong with requests of a method whose path and query contain a text; ``times`` counts down.

    Args:
        status: answer with this, without asking the server; 0: there is no answer at all.
        code: S3's name for the error.
        is_passed_on: the server gets the request; it is its answer that is lost.
        is_silent: the connection stays open and nothing comes; otherwise it is closed.
    """

    method: str
    contains: str
    times: int
    status: int = 0
    code: str = ""
    is_passed_on: bool = False
    is_silent: bool = False
    happened: threading.Event = field(default_factory=threading.Event)


class S3Proxy:
    """Forwards requests to a server; a context manager."""

    def __init__(self, upstream: str) -> None:
        self._upstream = urlsplit(upstream).netloc
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._is_over = threading.Event()
        self.requests: list[str] = []

    def __enter__(self) -> Self:
        proxy = self

        class Handler(_Handler):
            owner = proxy

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._server.shutdown()
        self._server.server_close()

    def refuse(self, method: str, contains: str = "", *, status: int, code: str, times: int = 10**9) -> Fault:
        """Answer such requests with an error."""
        return self._plan(Fault(method, contains, times, status=status, code=code))

    def be_silent(self, method: str, contains: str = "", *, times: int = 10**9) -> Fault:
        """Never answer such requests, nor pass them on."""
        return self._plan(Fault(method, contains, times, is_silent=True))

    def lose_answer(self, method: str, contains: str = "", *, times: int = 1) -> Fault:
        """Pass such requests on, and break the connection instead of answering."""
        return self._plan(Fault(method, contains, times, is_passed_on=True))

    def _plan(self, fault: Fault) -> Fault:
        with self._lock:
            self._faults.append(fault)
        return fault

    def strike(self, method: str, target: str) -> Fault | None:
        """The fault that a request meets."""
        with self._lock:
            self.requests.append(f"{method} {target}")
            for fault in self._faults:
                if fault.times > 0 and fault.method == method and fault.contains in target:
                    fault.times -= 1
                    fault.happened.set()
                    return fault
        return None

    def forward(self, method: str, target: str, headers: Any, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        """What the server answers."""
        connection = http.client.HTTPConnection(self._upstream, timeout=60)
        try:
            connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
            for name, header in headers.items():
                if name.lower() not in ("connection", "expect"):
                    connection.putheader(name, header)
            connection.endheaders(body or None)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def wait_until_over(self) -> None:
        """For an answer that never comes."""
        self._is_over.wait()


class _Handler(BaseHTTPRequestHandler):
    owner: S3Proxy
    protocol_version = "HTTP/1.1"

    def handle_one_request(self) -> None:
        with suppress(OSError):  # a client that was killed, or gave up
            self._handle()

    def _handle(self) -> None:
        self.raw_requestline = self.rfile.readline(65537)
        is_request = bool(self.raw_requestline) and self.parse_request()
        self.close_connection = True  # one request a connection: a broken one is then noticed at once
        if not is_request:
            return
        body = self._body()
        fault = self.owner.strike(self.command, self.path)
        if fault is not None and not fault.is_passed_on:
            if fault.is_silent:
                self.owner.wait_until_over()
            elif fault.status:
                said = f"<Error><Code>{fault.code}</Code><Message>by the proxy</Message></Error>"
                self._answer(fault.status, [("Content-Type", "application/xml")], said.encode())
            return
        answer = self.owner.forward(self.command, self.path, self.headers, body)
        if fault is None:
            self._answer(*answer)

    def _body(self) -> bytes:
        """The body as it came: with the marks of its chunks, where it is sent in chunks."""
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts: list[bytes] = []
        while True:
            size = self.rfile.readline()
            if not size:
                raise ConnectionError("the client is gone")
            parts += [size, self.rfile.read(int(size.split(b";")[0], 16) + 2)]
            if int(size.split(b";")[0], 16) == 0:
                return b"".join(parts)

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response_only(status)
        length = str(len(body))
        for name, header in headers:
            if name.lower() == "content-length" and self.command == "HEAD":
                length = header
            if name.lower() not in _OF_A_CONNECTION:
                self.send_header(name, header)
        self.send_header("Content-Length", length)
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()
