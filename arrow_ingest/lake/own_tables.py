"""A name in, whether the lake has such a table of arrow_ingest's own: lakes of earlier versions lack some."""

from arrow_ingest.lake.session import Lake
from arrow_ingest.lake.sql import OWN_SCHEMA


def has_own(lake: Lake, name: str) -> bool:
    """Whether it is there, in the open transaction if there is one."""
    return name in lake.names_in(OWN_SCHEMA)
