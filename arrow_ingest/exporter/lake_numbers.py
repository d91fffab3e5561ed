"""A pipeline in, the lake's numbers of it out: read-only, from the catalog alone; no data file is opened."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

from arrow_ingest.config import PipelineConfig
from arrow_ingest.errors import LakeNotMade
from arrow_ingest.exporter.look import LakeNumbers, Snapshots
from arrow_ingest.lake.catalog import catalog_of
from arrow_ingest.lake.lanes import read_lanes
from arrow_ingest.lake.ledger_totals import LedgerTotal, LedgerTotals, last_commit_seconds
from arrow_ingest.lake.letter_events import resolved_letters
from arrow_ingest.lake.maintenance.census import census
from arrow_ingest.lake.maintenance.crowded import is_crowded
from arrow_ingest.lake.maintenance.report import Census
from arrow_ingest.lake.session import Lake, open_lake
from arrow_ingest.lake.statistics import files_by_partition, snapshot_times

COUNT_FILES_EVERY_SECONDS = 300.0
"""Files are counted more rarely than all else: it is what takes longer the more there are, and maintenance is daily."""


class LakeReader:
    """Reads one pipeline's numbers, again and again, each time over a session of its own.

    Args:
        clock: seconds that go on.
    """

    def __init__(self, config: PipelineConfig, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._config = config
        self._clock = clock
        self._totals = LedgerTotals(config.name)
        self._counted_at: float | None = None
        self._counted = (Census(), 0)

    def read(self) -> LakeNumbers:
        """The numbers as they are now; none while there is no lake yet.

        Raises:
            ArrowIngestError: the lake cannot be read, or is not what the settings say.
        """
        lake = self._config.lake
        if not catalog_of(lake).exists():
            return LakeNumbers()
        try:
            with open_lake(lake, read_only=True, threads=1) as session, session.snapshot():
                return self._numbers(session)
        except LakeNotMade:
            return LakeNumbers()

    def _numbers(self, lake: Lake) -> LakeNumbers:
        config = self._config
        totals = self._totals.read(lake)
        dead = sum(totals.values(), LedgerTotal()).dead
        counted, partitions_to_merge = self._counts(lake)
        return LakeNumbers(
            lanes=read_lanes(lake, config.name),
            totals=totals,
            letters_waiting=max(0, dead - resolved_letters(lake, config.name)),
            commit_seconds=last_commit_seconds(lake, config.name),
            census=counted,
            partitions_to_merge=partitions_to_merge,
            snapshots=Snapshots(*snapshot_times(lake)),
        )

    def _counts(self, lake: Lake) -> tuple[Census, int]:
        """What was counted last, while it is new enough."""
        if self._counted_at is None or self._clock() - self._counted_at >= COUNT_FILES_EVERY_SECONDS:
            self._counted = census(lake, self._config), self._partitions_to_merge(lake)
            self._counted_at = self._clock()
        return self._counted

    def _partitions_to_merge(self, lake: Lake) -> int:
        config, now = self._config, datetime.now(UTC)
        small = int(config.maintenance.merge.small_file_bytes)
        found = files_by_partition(lake, config.lake, config.partition_by, small_below_bytes=small)
        return sum(is_crowded(config, value, files.small_files, now) for value, files in found.items())
