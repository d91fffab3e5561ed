"""What a run would need of the lake, tried; nothing is left behind but one small object on S3."""

from arrow_ingest.config import LakeConfig, PipelineConfig
from arrow_ingest.errors import LakeNotMade, LayoutMismatch
from arrow_ingest.lake.catalog import catalog_of
from arrow_ingest.lake.engine import connected
from arrow_ingest.lake.lanes import read_lanes
from arrow_ingest.lake.local_store import probe_folder
from arrow_ingest.lake.session import open_lake
from arrow_ingest.lake.sqlite_catalog import SqliteCatalog
from arrow_ingest.lake.store import store_of
from arrow_ingest.lake.tables import is_registered


def probe_extensions(lake: LakeConfig) -> tuple[str, ...]:
    """Load the DuckDB extensions that this lake takes; their names.

    Raises:
        MissingPart: one is neither installed nor can be.
    """
    names = (*catalog_of(lake).extensions, *store_of(lake).extensions, "ducklake")
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


def probe_data_path(lake: LakeConfig) -> str:
    """Write below the data path and read it as a run does; the data path.

    Raises:
        CatalogUnavailable: that is not possible.
        ConfigError: it is refused, and a setting, a key or a right has to be changed.
    """
    store = store_of(lake)
    store.probe()
    return store.root
