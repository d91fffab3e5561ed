"""A bucket and a prefix on S3 as data path: an object is there, whole and durable, once its upload was completed.

pyarrow writes and reads, DuckDB's httpfs reads (with ``writer: insert`` it writes too). No bucket and no directory
marker is made, and nothing is ever deleted. An upload that is cut off before its end leaves no object; its parts stay
with the server until a rule of the bucket removes them.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import duckdb
import pyarrow as pa
from pyarrow.fs import AwsStandardS3RetryStrategy, FileInfo, FileSelector, S3FileSystem

from arrow_ingest.errors import ArrowIngestError, CatalogUnavailable
from arrow_ingest.lake.engine import connected
from arrow_ingest.lake.engine_errors import shown_cause, wrapped
from arrow_ingest.lake.s3_access import S3Access
from arrow_ingest.lake.s3_errors import outage_by_pyarrow
from arrow_ingest.lake_address import S3_SCHEME
from arrow_ingest.values import StoredFile

CONNECT_SECONDS = 3.0
SILENCE_SECONDS = 10.0
"""An answer is given up when not a byte of it came for so long."""

ATTEMPTS = 6
"""How often pyarrow asks before it gives up: a quarter of a minute for a busy server, two for one that says nothing."""

WRITER_SECONDS = 15
"""How long a request of DuckDB's may take from its first to its last byte, four times over, where it writes.

It reads the footers of staged files within the transaction, so its patience is that of a lock's holder.
"""

READER_SECONDS = 60
"""The same where it only reads, tens of megabytes at a time and maybe over a slow line."""

HTTPFS_SETTINGS: dict[str, int | bool | str] = {
    "http_retries": 3,
    "http_retry_wait_ms": 200,
    "http_retry_backoff": 3,
    # Or a URL within a query could name another endpoint, to which we would then sign a request.
    "s3_url_compatibility_mode": True,
    # Divided by ten thousand that is the size of a part with `writer: insert`; DuckDB's own choice, 80 MB, takes long.
    "s3_uploader_max_filesize": "'100GB'",
}

COPIES_OF_KEYS = ("s3_access_key_id", "s3_secret_access_key", "s3_session_token")
"""Settings that httpfs fills from the environment as it is loaded, and that `duckdb_settings()` shows in clear."""

LISTING_THREADS = 8

PROBE = ".arrow-ingest-probe"
"""The object that `S3Store.probe` leaves behind, five bytes long."""

_ADMISSION = """
CREATE TEMPORARY SECRET arrow_ingest_data (
    TYPE s3, PROVIDER config, SCOPE $scope, KEY_ID $key_id, SECRET $secret_key, {token}
    REGION $region, ENDPOINT $endpoint, URL_STYLE $url_style, USE_SSL $use_ssl
)
"""


@dataclass(frozen=True, slots=True)
class S3Store:
    """Objects below a bucket's prefix: a `Store`.

    Args:
        root: ``s3://bucket/``, or with a prefix that ends with a slash.
    """

    root: str
    access: S3Access

    @property
    def extensions(self) -> tuple[str, ...]:
        """DuckDB speaks S3 by an extension."""
        return ("httpfs",)

    def make_root(self) -> None:
        """S3 has no folders, and buckets are made by their owner."""

    def admit(self, connection: duckdb.DuckDBPyConnection, *, read_only: bool) -> None:
        """A temporary secret for our prefix, by parameters: no statement, and no list of databases, shows the keys."""
        access = self.access
        parameters = {
            "scope": self.root,
            "key_id": access.key_id,
            "secret_key": access.secret_key,
            "region": access.region,
            "endpoint": access.host,
            "url_style": access.url_style,
            "use_ssl": access.scheme == "https",
        }
        token = "" if access.session_token is None else "SESSION_TOKEN $session_token,"
        if access.session_token is not None:
            parameters["session_token"] = access.session_token
        for name in COPIES_OF_KEYS:
            connection.execute(f"SET {name} = ''")
        patience = READER_SECONDS if read_only else WRITER_SECONDS
        for name, setting in (HTTPFS_SETTINGS | {"http_timeout": patience}).items():
            connection.execute(f"SET {name} = {setting}")
        connection.execute(_ADMISSION.format(token=token), parameters)

    def create(self, path: str) -> pa.NativeFile:
        """An upload, which begins with the first bytes; raises OSError.

        It is one request for a small file, and one per 10 MiB and two more for a larger one. Flushing waits until the
        parts that are under way have arrived.
        """
        return _client(self.access).open_output_stream(_key(path))

    def settle(self, path: str) -> None:
        """Closing it has completed the upload."""

    def settle_foreign(self, paths: Sequence[str] | None) -> None:
        """DuckDB completes its uploads before the statement that writes them ends."""

    def sizes(self, paths: Iterable[str]) -> Mapping[str, int | OSError]:
        """By listing the folders that the files are in, a thousand names at a time.

        Raises:
            CatalogUnavailable, ConfigError: a folder cannot be listed.
        """
        wanted = tuple(paths)
        folders = sorted({path.rpartition("/")[0] for path in wanted})
        with ThreadPoolExecutor(LISTING_THREADS, thread_name_prefix="list") as pool:
            found = {path: size for listed in pool.map(self._listed, folders) for path, size in listed}
        return {path: found.get(path, FileNotFoundError(path)) for path in wanted}

    def open(self, path: str) -> pa.NativeFile:
        """The object, read by ranges; raises OSError."""
        return _client(self.access).open_input_file(_key(path))

    def files_below(self, folder: str) -> Iterator[StoredFile]:
        """By one listing, a thousand names at a time.

        Raises:
            CatalogUnavailable, ConfigError: it cannot be listed.
        """
        for info in self._infos(folder, recursive=True):
            yield StoredFile(f"{S3_SCHEME}{info.path}", info.size, info.mtime)

    def remove(self, path: str) -> None:
        """Delete the object, with a key that may.

        Raises:
            CatalogUnavailable, ConfigError: it cannot be deleted, or not by us.
        """
        try:
            _client(self.access).delete_file(_key(path))
        except FileNotFoundError:
            return
        except OSError as error:
            doing = f"{path} cannot be removed"
            raise self.outage(error, doing) or CatalogUnavailable(f"{doing}: {error}") from error

    def outage(self, error: OSError, doing: str) -> ArrowIngestError | None:
        """What S3 said."""
        return outage_by_pyarrow(error, doing)

    def probe(self) -> None:
        """Write an object, find it in a list and have DuckDB read it.

        Every probe writes the same object, and none deletes it: a key that ingests need not be allowed to.

        Raises:
            CatalogUnavailable, ConfigError: one of these is not possible.
        """
        path = f"{self.root}{PROBE}"
        try:
            with self.create(path) as upload:
                upload.write(b"probe")
        except OSError as error:
            doing = f"{path} cannot be written"
            raise self.outage(error, doing) or CatalogUnavailable(f"{doing}: {error}") from error
        if (size := self.sizes([path])[path]) != len(b"probe"):
            raise CatalogUnavailable(f"{path} was written, and the list of its folder does not show it: {size}")
        try:
            with connected(self.extensions) as connection:
                self.admit(connection, read_only=False)
                connection.execute("SELECT content FROM read_text(?)", [path]).fetchall()
        except duckdb.Error as error:
            raise wrapped(error, f"{path} cannot be read by DuckDB") from shown_cause(error)

    def _listed(self, folder: str) -> list[tuple[str, int]]:
        return [(f"{S3_SCHEME}{info.path}", info.size) for info in self._infos(folder)]

    def _infos(self, folder: str, *, recursive: bool = False) -> list[FileInfo]:
        try:
            selector = FileSelector(_key(folder), allow_not_found=True, recursive=recursive)
            infos = _client(self.access).get_file_info(selector)
        except OSError as error:
            doing = f"{folder} cannot be listed"
            raise self.outage(error, doing) or CatalogUnavailable(f"{doing}: {error}") from error
        return [info for info in infos if info.is_file]


def _key(path: str) -> str:
    """Bucket and key of a URL, as pyarrow takes them.

    >>> _key("s3://bucket/a/b.parquet")
    'bucket/a/b.parquet'
    """
    return path.removeprefix(S3_SCHEME)


@lru_cache(maxsize=4)
def _client(access: S3Access) -> S3FileSystem:
    """One client for all threads, with its connections; the last few keys' are kept."""
    is_aws_by_host = access.endpoint is None and access.url_style == "vhost"
    return S3FileSystem(
        access_key=access.key_id,
        secret_key=access.secret_key,
        session_token=access.session_token,
        region=access.region,
        scheme=access.scheme,
        # Naming AWS's own host is the only way to its path style.
        endpoint_override=None if is_aws_by_host else access.host,
        force_virtual_addressing=access.url_style == "vhost",
        allow_delayed_open=True,
        request_timeout=SILENCE_SECONDS,
        connect_timeout=CONNECT_SECONDS,
        retry_strategy=AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS),
    )
