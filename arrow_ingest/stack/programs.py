"""The programs of the stack: where they are, and how they come there.

Apache Kafka is resolved by Maven from ``pom.xml``, versitygw is built by Go, both into one folder of programs, once;
then nothing asks the network again. PostgreSQL comes from the machine's packages. Several processes may ask at once.
"""

import fcntl
import hashlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree as ET

from arrow_ingest.environment import variables
from arrow_ingest.errors import MissingPart

DEFAULT_FOLDER = Path(".arrow_ingest/stack/programs")
"""Below the current folder, where `make stack` keeps them."""

POM = Path(__file__).with_name("pom.xml")
COPY_JARS = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
VERSITYGW = "github.com/versity/versitygw/cmd/versitygw"
VERSITYGW_VERSION = "v1.8.0"
JAVA_VERSION = 17
"""Kafka's brokers need it or a newer one."""

INSTALL_SECONDS = 1200.0
DEBIAN_POSTGRES = Path("/usr/lib/postgresql")


def java() -> Path:
    """The Java runtime.

    Raises:
        MissingPart: there is none, or it is too old for Kafka.
    """
    found = _on_path("java", "Apache Kafka runs on Java", "apt install default-jre-headless")
    said = subprocess.run([found, "-version"], capture_output=True, text=True, check=False, timeout=60)
    version = java_version(said.stderr + said.stdout)
    if version < JAVA_VERSION:
        raise MissingPart(
            f"Apache Kafka needs Java {JAVA_VERSION} or newer and {found} is {version}: "
            "apt install default-jre-headless"
        )
    return found


def java_version(said: str) -> int:
    """The major version in what ``java -version`` prints, 0 if there is none.

    >>> java_version('openjdk version "17.0.15" 2025-04-15'), java_version('java version "1.8.0_402"'), java_version("")
    (17, 1, 0)
    """
    found = re.search(r'version "(\d+)', said)
    return int(found[1]) if found else 0


def kafka(programs: Path = DEFAULT_FOLDER) -> Path:
    """The folder of Kafka's jars.

    Raises:
        MissingPart: they are not there and cannot be brought.
    """

    def install(folder: Path) -> None:
        maven = _on_path("mvn", "Apache Kafka's jars are brought by Maven", "apt install maven")
        shutil.copy(POM, folder / "pom.xml")  # Maven writes beside it, and the package's folder may be read-only
        _run([str(maven), "-q", "-B", COPY_JARS, f"-DoutputDirectory={folder}", "-DincludeScope=runtime"], cwd=folder)

    text = POM.read_bytes()
    version = ET.fromstring(text).findtext(".//{*}kafka.version")  # noqa: S314 - our own file
    return _installed(programs, f"kafka-{version}-{hashlib.sha256(text).hexdigest()[:8]}", install)


def versitygw(programs: Path = DEFAULT_FOLDER) -> Path:
    """The S3 server's binary.

    Raises:
        MissingPart: it is not there and cannot be brought.
    """

    def install(folder: Path) -> None:
        go = _on_path(
            "go", "the S3 server versitygw is built by Go", "install Go 1.21 or newer (apt install golang-go)"
        )
        _run(
            [str(go), "install", f"{VERSITYGW}@{VERSITYGW_VERSION}"], cwd=folder, GOBIN=str(folder), GOTOOLCHAIN="auto"
        )

    return _installed(programs, f"versitygw-{VERSITYGW_VERSION}", install) / "versitygw"


def postgres() -> Path:
    """The folder of ``initdb`` and ``postgres``; Debian keeps one per version, outside of PATH.

    Raises:
        MissingPart: there is none.
    """
    folders = sorted(DEBIAN_POSTGRES.glob("*/bin"), key=lambda folder: int(folder.parent.name))
    found = shutil.which("initdb")
    if not folders and not found:
        raise MissingPart(
            "there is no PostgreSQL server on this machine: apt install postgresql (or put its initdb on PATH)"
        )
    return folders[-1] if folders else Path(str(found)).resolve().parent


def _on_path(program: str, why: str, command: str) -> Path:
    found = shutil.which(program)
    if found is None:
        raise MissingPart(f"{why}, and there is no {program} on PATH: {command}")
    return Path(found)


def _installed(programs: Path, name: str, install: Callable[[Path], None]) -> Path:
    """The folder ``name``, made by ``install`` elsewhere and renamed, so that it is whole whenever it is there."""
    wanted = programs.absolute() / name
    if wanted.is_dir():
        return wanted
    wanted.parent.mkdir(parents=True, exist_ok=True)
    with _alone(wanted.with_name(f"{name}.lock")):
        if not wanted.is_dir():
            made = Path(tempfile.mkdtemp(prefix=".installing-", dir=wanted.parent))
            try:
                install(made)
                made.chmod(0o755)
                made.rename(wanted)
            finally:
                shutil.rmtree(made, ignore_errors=True)
    return wanted


@contextmanager
def _alone(lock_file: Path) -> Iterator[None]:
    """Wait for whoever installs the same; the kernel lets go of the lock when its holder ends."""
    with lock_file.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def _run(command: list[str], *, cwd: Path, **environment: str) -> None:
    try:
        subprocess.run(
            command,
            cwd=cwd,
            env={**variables(), **environment},
            check=True,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=INSTALL_SECONDS,
        )
    except subprocess.CalledProcessError as error:
        said = "\n".join(str(error.stdout).splitlines()[-15:])
        raise MissingPart(f"`{' '.join(command)}` failed; does it reach its registry?\n{said}") from error
    except subprocess.TimeoutExpired as error:
        raise MissingPart(f"`{' '.join(command)}` was not done after {INSTALL_SECONDS:.0f} s") from error
