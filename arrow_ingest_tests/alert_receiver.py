"""A real HTTP server that takes what apprise's `json://` sends, and can refuse to."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class AlertReceiver:
    """What arrived, in order; while `is_refusing`, it answers 503."""

    def __init__(self) -> None:
        self.received: list[dict[str, str]] = []
        self.is_refusing = False
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if not receiver.is_refusing:
                    receiver.received.append(json.loads(body))
                self.send_response(503 if receiver.is_refusing else 200)
                self.end_headers()

            def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - http.server's name
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"json://user:secret-password@127.0.0.1:{self.server.server_port}/secret-path"

    @property
    def titles(self) -> list[str]:
        return [message["title"] for message in self.received]


@contextmanager
def alert_receiver() -> Iterator[AlertReceiver]:
    """A receiver on a free port, on a thread of its own."""
    receiver = AlertReceiver()
    thread = threading.Thread(target=receiver.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield receiver
    finally:
        receiver.server.shutdown()
        thread.join()
        receiver.server.server_close()
