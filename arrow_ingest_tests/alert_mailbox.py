"""A real SMTP server, as mail comes from apprise's `mailtos://`: STARTTLS first, then a login, then the message.

Python has none any more (smtpd went with 3.12), and what is left of its protocol here is a dozen verbs.
"""

import base64
import datetime as dt
import email.policy
import ipaddress
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

USER, PASSWORD = "watch", "secret-of-the-mailbox"


class Mailbox:
    """What arrived, in order; `refused` counts logins with another password and mail without one."""

    def __init__(self, certificate: Path) -> None:
        self.received: list[EmailMessage] = []
        self.refused = 0
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(certificate)
        mailbox = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                mailbox._converse(self)

        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]

    def url(self, password: str = PASSWORD) -> str:
        return f"mailtos://{USER}:{password}@127.0.0.1:{self.port}/?from=alerts@example.com&to=ops@example.com&mode=starttls"

    def _converse(self, line: socketserver.StreamRequestHandler) -> None:
        is_secret = is_known = False

        def say(text: str) -> None:
            line.wfile.write(f"{text}\r\n".encode())
            line.wfile.flush()

        say("220 mailbox")
        while words := line.rfile.readline().decode().split():
            match words[0].upper():
                case "EHLO" | "HELO":
                    say("250-mailbox")
                    say("250 AUTH PLAIN LOGIN" if is_secret else "250 STARTTLS")
                case "STARTTLS":
                    say("220 go on")
                    secret = self._context.wrap_socket(line.connection, server_side=True)
                    line.rfile, line.wfile = secret.makefile("rb"), secret.makefile("wb")
                    is_secret = True
                case "AUTH" if is_secret and words[1].upper() == "PLAIN":
                    is_known = base64.b64decode(words[2]) == f"\0{USER}\0{PASSWORD}".encode()
                    self.refused += not is_known
                    say("235 welcome" if is_known else "535 no")
                case "MAIL" | "RCPT" | "RSET" | "NOOP" if is_known or words[0].upper() in {"RSET", "NOOP"}:
                    say("250 ok")
                case "DATA" if is_known:
                    say("354 go on")
                    lines = iter(line.rfile.readline, b".\r\n")
                    parsed = email.message_from_bytes(b"".join(lines), policy=email.policy.default)
                    assert isinstance(parsed, EmailMessage)
                    self.received.append(parsed)
                    say("250 ok")
                case "QUIT":
                    say("221 bye")
                    return
                case _:
                    self.refused += 1
                    say("530 not without TLS and a login")


@contextmanager
def mailbox(folder: Path) -> Iterator[Mailbox]:
    """A mailbox on a free port; its certificate, which clients have to trust, is ``folder``/mailbox.pem."""
    certificate = folder / "mailbox.pem"
    certificate.write_bytes(_certificate())
    box = Mailbox(certificate)
    thread = threading.Thread(target=box.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield box
    finally:
        box.server.shutdown()
        thread.join()
        box.server.server_close()


def _certificate() -> bytes:
    """A key, and a certificate for 127.0.0.1 that it signed itself."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = dt.datetime.now(dt.UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=True)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return private + signed.public_bytes(pem)
