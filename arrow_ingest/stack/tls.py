"""A host's name in, a certificate authority and a certificate for that host out, made by Java's own keytool."""

import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from arrow_ingest.errors import StackFailed

_DAYS = "365"


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """Files of one server's identity: clients get ``ca_file`` (PEM), the server the PKCS12 ``keystore``."""

    host: str
    ca_file: Path
    keystore: Path
    password: str = field(repr=False)


def make_certificate(folder: Path, java: Path, host: str, password: str) -> ServerCertificate:
    """A new authority, and a certificate for ``host`` that it signed; the files go into ``folder``.

    Raises:
        StackFailed: keytool refused.
    """
    keytool = shutil.which("keytool", path=java.resolve().parent) or shutil.which("keytool") or "keytool"
    authority, keystore = folder / "authority.p12", folder / "server.p12"
    ca_file, request, signed = folder / "ca.pem", folder / "server.csr", folder / "server.pem"

    def run(store: Path, *arguments: str) -> None:
        command = [keytool, *arguments, "-keystore", str(store), "-storetype", "PKCS12", "-storepass", password]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        if done.returncode != 0:
            raise StackFailed("keytool", done.stdout + done.stderr)

    key = ("-genkeypair", "-keyalg", "EC", "-groupname", "secp256r1", "-validity", _DAYS)
    run(authority, *key, "-alias", "ca", "-dname", "CN=arrow_ingest test authority", "-ext", "bc:c")
    run(authority, "-exportcert", "-rfc", "-alias", "ca", "-file", str(ca_file))
    run(keystore, *key, "-alias", "server", "-dname", f"CN={host}")
    run(keystore, "-certreq", "-alias", "server", "-file", str(request))
    names = f"san=dns:{host}"
    answer = ("-infile", str(request), "-outfile", str(signed))
    run(authority, "-gencert", "-rfc", "-alias", "ca", "-validity", _DAYS, "-ext", names, *answer)
    run(keystore, "-importcert", "-noprompt", "-alias", "ca", "-file", str(ca_file))
    run(keystore, "-importcert", "-noprompt", "-alias", "server", "-file", str(signed))
    return ServerCertificate(host, ca_file, keystore, password)
