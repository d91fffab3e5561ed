"""A table partition and its small files to whether maintenance should have merged them by now. Pure."""

from datetime import datetime

from arrow_ingest.config import PipelineConfig
from arrow_ingest.lake.maintenance.merge_policy import is_newest
from arrow_ingest.lake.time_partitions import start_of_key


def is_young(config: PipelineConfig, value: str | None, now: datetime) -> bool:
    """Whether maintenance has not had its turn yet with a table partition.

    One unit of time more than merging leaves alone: maintenance comes once a day, and takes its time.
    """
    by = config.partition_by
    if by is None or by.unit == "value" or value is None:
        return False
    return is_newest(start_of_key(value, by.unit), by.unit, now, config.maintenance.merge.leave_newest + 1)


def is_crowded(config: PipelineConfig, value: str | None, small_files: int, now: datetime) -> bool:
    """Whether a table partition has more small files than it should."""
    return small_files > config.maintenance.merge.warn_files and not is_young(config, value, now)
