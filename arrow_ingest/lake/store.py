"""A data path in, what differs by where the Parquet files lie out: a local folder, or a bucket on S3."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

import duckdb
import pyarrow as pa

from arrow_ingest import environment
from arrow_ingest.config import LakeConfig
from arrow_ingest.errors import ArrowIngestError
from arrow_ingest.lake.local_store import local_store
from arrow_ingest.lake.s3_access import access_of
from arrow_ingest.lake.s3_store import S3Store
from arrow_ingest.lake_address import S3_SCHEME
from arrow_ingest.values import StoredFile


class Store(Protocol):
    """What a kind of data path brings. Files are named as DuckLake names them: by absolute path, or by URL."""

    @property
    def root(self) -> str:
        """The data path as DuckLake writes it down: absolute, with a slash at its end."""
        ...

    @property
    def extensions(self) -> tuple[str, ...]:
        """DuckDB extensions that it needs."""
        ...

    def make_root(self) -> None:
        """Make the data path where it is missing and can be made.

        Raises:
            CatalogUnavailable: it cannot.
        """
        ...

    def admit(self, connection: duckdb.DuckDBPyConnection, *, read_only: bool) -> None:
        """Give a session, before it is locked down, what it needs to read and write below the data path.

        Raises:
            duckdb.Error: DuckDB does not take it.
        """
        ...

    def create(self, path: str) -> pa.NativeFile:
        """Open a new file for writing. Nobody sees it by this name before it is closed, or it is never committed.

        Raises:
            OSError: no space, no permission, no answer.
        """
        ...

    def settle(self, path: str) -> None:
        """Return once a file of `create`, closed by now, survives a power cut.

        Raises:
            OSError: it cannot be made to.
        """
        ...

    def settle_foreign(self, paths: Sequence[str] | None) -> None:
        """The same for files that DuckDB wrote; None: nobody knows which.

        Raises:
            OSError: they cannot be made to.
        """
        ...

    def sizes(self, paths: Iterable[str]) -> Mapping[str, int | OSError]:
        """The size in bytes of each file, or why nobody can say: `FileNotFoundError` for those that are not there.

        Raises:
            CatalogUnavailable, ConfigError: the store as a whole does not answer, or not to us.
        """
        ...

    def open(self, path: str) -> pa.NativeFile:
        """Open a file for reading at any place.

        Raises:
            OSError: it is not there, or cannot be read.
        """
        ...

    def files_below(self, folder: str) -> Iterator[StoredFile]:
        """Every file below a folder of the data path, in whatever order; none where there is no such folder.

        Raises:
            CatalogUnavailable, ConfigError: it cannot be listed.
        """
        ...

    def remove(self, path: str) -> None:
        """Delete a file; that it is gone already is no error. Maintenance alone does this.

        Raises:
            CatalogUnavailable, ConfigError: it cannot be deleted, or not by us.
        """
        ...

    def outage(self, error: OSError, doing: str) -> ArrowIngestError | None:
        """What the store itself failed in, be it that it refuses us; None: a file or its disk is to blame."""
        ...

    def probe(self) -> None:
        """Write and read as a run does. Nothing is left behind where this may be removed without a further right.

        Raises:
            CatalogUnavailable: that is not possible.
            ConfigError: it is refused, and a setting, a key or a right has to be changed.
        """
        ...


def store_of(lake: LakeConfig) -> Store:
    """The store that ``lake.data_path`` names. Keys are read now: whoever asks again gets those of then.

    Raises:
        ConfigError: there are no keys for S3.
        MissingPart: a DuckDB extension is missing, which a DuckDB secret is read by.
    """
    if lake.data_path.startswith(S3_SCHEME):
        return S3Store(f"{lake.data_path.rstrip('/')}/", access_of(lake.s3, environment.aws_variables()))
    return local_store(lake.data_path)
