"""A pipeline's finished runs of long ago, deleted from Dagster with their events; what is still current in them stays.

Dagster keeps every run and every event for ever. A lane has a run every few minutes: a year of it is a million events.
"""

import time
from dataclasses import dataclass
from datetime import datetime

import dagster as dg
from dagster._core.storage.dagster_run import FINISHED_STATUSES

from arrow_ingest.components.names import MAINTENANCE_TAG, PIPELINE_TAG, Names


@dataclass(frozen=True, slots=True)
class Forgotten:
    """How many old runs were deleted, and how many stay because something that they told is still the newest."""

    deleted: int = 0
    kept: int = 0


def forget_runs(
    instance: dg.DagsterInstance, names: Names, *, before: datetime, deadline: float, is_dry_run: bool = False
) -> Forgotten:
    """Delete a pipeline's finished runs that were created before then, the oldest first.

    A run that holds the newest materialisation of an asset, or of one of its partitions, is never deleted: the UI, data
    versions and automation conditions go by it. Runs of other pipelines and projects are not looked at.

    Args:
        deadline: in `time.monotonic` seconds; the rest is left to the next time.
        is_dry_run: count, and delete nothing.
    """
    deleted = kept = 0
    newest = _Newest(instance)
    for run_id in _finished_runs(instance, names, before):
        if time.monotonic() > deadline:
            break
        if newest.is_told_by(run_id):
            kept += 1
            continue
        if not is_dry_run:
            instance.delete_run(run_id)
        deleted += 1
    return Forgotten(deleted, kept)


def _finished_runs(instance: dg.DagsterInstance, names: Names, before: datetime) -> tuple[str, ...]:
    """Their ids, the oldest of each kind first."""
    kinds = (
        dg.RunsFilter(tags={PIPELINE_TAG: names.group}, statuses=FINISHED_STATUSES, created_before=before),
        dg.RunsFilter(tags={MAINTENANCE_TAG: names.group}, statuses=FINISHED_STATUSES, created_before=before),
        *(
            dg.RunsFilter(job_name=job, statuses=FINISHED_STATUSES, created_before=before)
            for job in (names.replay_job, names.rebuild_job)
        ),
    )
    found = (run_id for kind in kinds for run_id in reversed(instance.get_run_ids(kind)))
    return tuple(dict.fromkeys(found))


class _Newest:
    """The newest materialisations of the assets that come up, each asset asked for once."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self._instance = instance
        self._of_asset: dict[dg.AssetKey, frozenset[int]] = {}

    def is_told_by(self, run_id: str) -> bool:
        """Whether one of them is an event of this run."""
        kind = dg.DagsterEventType.ASSET_MATERIALIZATION
        records = self._instance.get_records_for_run(run_id, of_type=kind).records
        return any(
            record.storage_id in self._newest_of(record.asset_key) for record in records if record.asset_key is not None
        )

    def _newest_of(self, asset: dg.AssetKey) -> frozenset[int]:
        if asset not in self._of_asset:
            storage = self._instance.event_log_storage
            kind = dg.DagsterEventType.ASSET_MATERIALIZATION
            by_partition = storage.get_latest_storage_id_by_partition(asset, kind)
            last = self._instance.fetch_materializations(asset, limit=1).records
            self._of_asset[asset] = frozenset(by_partition.values()) | {record.storage_id for record in last}
        return self._of_asset[asset]
