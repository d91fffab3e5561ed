"""An S3 server in one child process over a folder: versitygw with its POSIX backend.

Why versitygw: it is one Go program that the Go module proxy brings (no container, no package repository of its own),
starts in 0.1 s, and does what the clients here need. DuckDB's httpfs and pyarrow's S3 client (the AWS SDK for C++)
read, write, list and upload in parts through it, path style or virtual host style, and it refuses by bucket policy, so
that a key which may not delete is one. Objects are plain files, which a test can look at. The bucket's metadata is kept
in extended attributes, or beside the data where the file system has none.
"""

import itertools
import json
import os
import subprocess
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from arrow_ingest.errors import StackFailed
from arrow_ingest.stack import programs as installed
from arrow_ingest.stack.child import ChildServer, free_port, is_listening
from arrow_ingest.stack.s3_request import REGION, Keys, send
from arrow_ingest.stack.secret import new_secret

READY_SECONDS = 20.0
HEALTH = "/health"

INGEST_ACTIONS = (
    "s3:GetObject",
    "s3:PutObject",
    "s3:ListBucket",
    "s3:GetBucketLocation",
    "s3:AbortMultipartUpload",
    "s3:ListMultipartUploadParts",
    "s3:ListBucketMultipartUploads",
)
"""What a run needs: deleting is not among it."""


class S3Server:
    """A running server; a context manager.

    Args:
        folder: gets the objects, the accounts and the log.
        programs: where the binary is or is brought to.
        domain: answer requests for ``BUCKET.domain`` too (virtual host style), beside those of path style.

    Raises:
        MissingPart: the server's program cannot be brought.
        StackFailed: it did not start.
    """

    def __init__(self, folder: Path, *, programs: Path = installed.DEFAULT_FOLDER, domain: str | None = None) -> None:
        self._folder = folder.absolute()
        self._binary = str(installed.versitygw(programs))
        self._domain = domain
        self._numbers = itertools.count()
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.root, self.ingest, self.maintenance = (
            Keys(name, new_secret()) for name in ("root", "ingest", "maintenance")
        )

    def __enter__(self) -> Self:
        self.data.mkdir(parents=True, exist_ok=True)
        (self._folder / "accounts").mkdir(exist_ok=True)
        self.start()
        try:
            for keys in (self.ingest, self.maintenance):
                self._administer("create-user", "--access", keys.access, "--secret", keys.secret, "--role", "user")
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    @property
    def data(self) -> Path:
        """The folder of the buckets; every object is a file."""
        return self._folder / "data"

    def start(self) -> None:
        """Start the server over its folder, on its port, and wait until it serves.

        Raises:
            StackFailed: it ended, or took too long.
        """
        options = ["--port", f"127.0.0.1:{self.port}", "--region", REGION, "--health", HEALTH]
        options += ["--iam-dir", str(self._folder / "accounts")]
        options += ["--virtual-domain", self._domain] if self._domain else []
        self._child = ChildServer(
            "versitygw",
            [self._binary, *options, "posix", *self._metadata(), str(self.data)],
            log_file=self._folder / "versitygw.log",
            folder=self._folder,
            env={"ROOT_ACCESS_KEY": self.root.access, "ROOT_SECRET_KEY": self.root.secret},
        )
        self._child.wait_until(self._is_ready, READY_SECONDS)

    def stop(self) -> None:
        """End the server; its objects stay."""
        self._child.stop()

    def new_bucket(self) -> str:
        """The name of a new empty bucket: ``ingest`` may read, write and list it, ``maintenance`` may do all."""
        bucket = f"lake-{next(self._numbers)}"
        self._administer("create-bucket", "--owner", self.maintenance.access, "--bucket", bucket)
        policy = json.dumps(bucket_policy(bucket, self.ingest, self.maintenance)).encode()
        send("PUT", self.endpoint, f"/{bucket}", self.maintenance, query={"policy": ""}, body=policy)
        return bucket

    def environ(self, keys: Keys | None = None) -> dict[str, str]:
        """The environment variables that point S3 clients here, with ``keys`` or those of ``ingest``."""
        keys = keys or self.ingest
        return {
            "AWS_ACCESS_KEY_ID": keys.access,
            "AWS_SECRET_ACCESS_KEY": keys.secret,
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL_S3": self.endpoint,
        }

    def _administer(self, command: str, *arguments: str) -> None:
        root = {"ADMIN_ACCESS_KEY": self.root.access, "ADMIN_SECRET_KEY": self.root.secret}
        done = subprocess.run(
            [self._binary, "admin", "--endpoint-url", self.endpoint, command, *arguments],
            env=root,
            capture_output=True,
            text=True,
            check=False,
            timeout=READY_SECONDS,
        )
        if done.returncode != 0:
            raise StackFailed(f"versitygw admin {command}", done.stdout + done.stderr)

    def _is_ready(self) -> bool:
        if not is_listening(self.port):
            return False
        try:
            with urllib.request.urlopen(self.endpoint + HEALTH, timeout=2):  # noqa: S310 - http only
                return True
        except OSError:
            return False

    def _metadata(self) -> list[str]:
        """Where the server keeps what a file cannot say of itself."""
        if has_extended_attributes(self.data):
            return []
        beside = self._folder / "metadata"
        beside.mkdir(exist_ok=True)
        return ["--sidecar", str(beside)]


def bucket_policy(bucket: str, ingest: Keys, maintenance: Keys) -> Mapping[str, object]:
    """The policy by which one key may do `INGEST_ACTIONS` in a bucket, and the other everything.

    The other is named although it owns the bucket: where versitygw finds a policy, it asks nothing else.
    """
    name = f"arn:aws:s3:::{bucket}"
    on_bucket = [action for action in INGEST_ACTIONS if "Bucket" in action]
    on_objects = [action for action in INGEST_ACTIONS if "Bucket" not in action]
    allowed = [(ingest, on_bucket, name), (ingest, on_objects, f"{name}/*")]
    allowed += [(maintenance, ["s3:*"], name), (maintenance, ["s3:*"], f"{name}/*")]
    statements = [
        {"Effect": "Allow", "Principal": {"AWS": [keys.access]}, "Action": actions, "Resource": resource}
        for keys, actions, resource in allowed
    ]
    return {"Version": "2012-10-17", "Statement": statements}


def has_extended_attributes(folder: Path) -> bool:
    """Whether files below a folder can carry attributes of ours."""
    try:
        os.setxattr(folder, "user.arrow_ingest", b"1")
        os.removexattr(folder, "user.arrow_ingest")
    except (AttributeError, OSError):
        return False
    return True
