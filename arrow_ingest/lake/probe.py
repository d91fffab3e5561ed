"""What a run would need of the lake, tried without leaving anything behind."""

import uuid
from pathlib import Path

from arrow_ingest.config import LakeConfig, PipelineConfig
from arrow_ingest.errors import CatalogUnavailable, LakeNotMade, LayoutMismatch
from arrow_ingest.lake import durable
from arrow_ingest.lake.catalog import catalog_of
from arrow_ingest.lake.engine import connected
from arrow_ingest.lake.lanes import read_lanes
from arrow_ingest.lake.session import data_root, open_lake
from arrow_ingest.lake.sqlite_catalog import SqliteCatalog
from arrow_ingest.lake.tables import is_registered


def probe_extensions(lake: LakeConfig) -> tuple[str, ...]:
    """Load the DuckDB extensions that this lake takes; their names.

    Raises:
        MissingPart: one is neither installed nor can be.
    """
    names = (*catalog_of(lake).extensions, "ducklake")
    connected(names).close()
    return names


def probe_catalog(config: PipelineConfig) -> bool:
    """Attach the lake and hold the pipeline against what it holds; False: there is no lake yet, but it can be made.

    Raises:
        CatalogUnavailable: it cannot be reached, or the folder of a SQLite catalog cannot be written.
        LakeMismatch, LayoutMismatch: the lake was made by other settings.
        ConfigError: the address names no catalog.
        MissingPart: a DuckDB extension is missing.
    """
    catalog = catalog_of(config.lake)
    if isinstance(catalog, SqliteCatalog):
        probe_folder(catalog.path.parent)
    try:
        with open_lake(config.lake, read_only=True) as lake:
            is_registered(lake, config)
            for lane in read_lanes(lake, config.name):
                if lane.layout != config.lanes:
                    raise LayoutMismatch(config.name, lane.layout, config.lanes)
    except LakeNotMade:
        return False
    return True


def probe_data_path(lake: LakeConfig) -> Path:
    """Write below the data path as a run does; the folder.

    Raises:
        CatalogUnavailable: it cannot be written.
    """
    folder = data_root(lake)
    probe_folder(folder)
    return folder


def probe_folder(folder: Path) -> None:
    """Create, fsync and remove a file; folders that are missing are made, and removed again.

    Raises:
        CatalogUnavailable: one of these is not possible.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    probe = folder / f".arrow-ingest-probe-{uuid.uuid4()}"
    try:
        try:
            with durable.create(probe) as file:
                file.write(b"probe")
            durable.sync(probe)
        finally:
            probe.unlink(missing_ok=True)
            for path in missing:
                if path.is_dir():
                    path.rmdir()
    except OSError as error:
        raise CatalogUnavailable(f"{folder} cannot be written: {error.strerror or error}") from error
