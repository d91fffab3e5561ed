"""Dagster's history of a pipeline's checks and runs to observations: what happened since the last look, once each.

What several runs found since then is all read, not only how things stand now: a failure that the next run's check
covers up seconds later is told as well, and with several lanes the newest row is not the newest answer (Dagster keeps
one row per run, check and partition, and writes it again with each answer).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import dagster as dg

# Internal in Dagster 1.13; a test pins what is used of them.
from dagster._core.event_api import PartitionKeyFilter
from dagster._core.storage.asset_check_execution_record import (
    AssetCheckExecutionRecord,
    AssetCheckExecutionRecordStatus,
)

from arrow_ingest.alerts.incidents import Kind, Level, Observation, Subject, Trouble, newest
from arrow_ingest.components.lane_sensor import IN_FLIGHT, OVERDUE
from arrow_ingest.components.names import BUSY, LANE_STATE_TAG, LANE_TAG, LAYOUT, PIPELINE_TAG, Check, Names
from arrow_ingest.config import PipelineConfig

STALE_SECONDS = 24 * 3600
"""What happened before is not told one by one any more: then only how things stand counts, as on the first look."""

PAGE = 100
MAX_RUNS = 200
RUNS_PER_LANE = 10
"""Finished runs that say how a lane stands when nothing is remembered."""

CHECKS = tuple(check for check in Check if check not in (Check.NOT_SUSPENDED, Check.LATE_ROWS))
"""The checks that are told; of a suspended lane its run tells, with the reason. That rows came late never ends."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What one look at the history found.

    Args:
        read: what was read of the time that the next look goes back to.
    """

    observed: tuple[Observation, ...]
    read: Mapping[str, float]


class History:
    """Looks at one pipeline's history as it is now."""

    def __init__(self, instance: dg.DagsterInstance, config: PipelineConfig, now: float) -> None:
        self._instance = instance
        self._storage = instance.event_log_storage
        self._config = config
        self._now = now
        table = Names.of(config).table
        self._keys = [dg.AssetCheckKey(table, str(check)) for check in CHECKS]
        # A run writes its rows again until it ends, and what is held back waits for that.
        self._look_back = config.run.max_run_seconds + OVERDUE.total_seconds()

    def since(self, read_through: float | None, read: Mapping[str, float]) -> Reading:
        """What happened after the last look; when there was none, or long ago, how things stand.

        Args:
            read_through: when the last look was, in Unix seconds.
            read: what it found in the time before, so that it is not told again.
        """
        is_remembered = read_through is not None and self._now - read_through <= STALE_SECONDS
        start = (read_through if is_remembered and read_through else self._now) - self._look_back
        found: dict[str, tuple[float, tuple[Observation, ...]]] = {}
        found.update(self._evaluations(start))
        found.update(self._finished_runs(start))
        kept = {key: at for key, (at, _) in found.items() if at >= self._now - self._look_back}
        if not is_remembered:
            return Reading((*newest(self._standing_lanes()), *self._standing_checks()), kept)
        new = [seen for key, (at, seen) in found.items() if read.get(key) != at]
        return Reading(tuple(observation for observations in new for observation in observations), kept)

    def _evaluations(self, start: float) -> Iterator[tuple[str, tuple[float, tuple[Observation, ...]]]]:
        """What checks answered after ``start``: a row's key to when it was answered, and what that says."""
        for key in self._keys:
            for row in self._rows(key, created_after=start - self._look_back):
                if row.evaluation is None or row.event is None or row.status not in ANSWERED:
                    continue
                at = row.event.timestamp
                if at >= start and not self._is_held_back(row):
                    yield f"{key.name}/{row.id}", (at, (self._observation(row, at),))

    def _rows(self, key: dg.AssetCheckKey, created_after: float) -> Iterator[AssetCheckExecutionRecord]:
        cursor: int | None = None
        while True:
            page = self._storage.get_asset_check_execution_history(key, limit=PAGE, cursor=cursor)
            for row in page:
                if row.create_timestamp < created_after:
                    return
                yield row
            if len(page) < PAGE:
                return
            cursor = page[-1].id

    def _is_held_back(self, row: AssetCheckExecutionRecord) -> bool:
        """Dead letters over the budget suspend the lane within seconds, and the suspension tells of them."""
        evaluation = row.evaluation
        if evaluation is None or evaluation.check_name != Check.DEAD_LETTERS or evaluation.passed:
            return False
        if evaluation.severity != dg.AssetCheckSeverity.ERROR:
            return False
        run = self._instance.get_run_by_id(row.run_id)
        return run is not None and run.status in IN_FLIGHT

    def _observation(self, row: AssetCheckExecutionRecord, at: float) -> Observation:
        evaluation = row.evaluation
        assert evaluation is not None
        level = Level.ERROR if evaluation.severity == dg.AssetCheckSeverity.ERROR else Level.WARN
        is_told = level is Level.ERROR or self._config.alerts.lowest_severity == "warn"
        trouble = None
        if not evaluation.passed and is_told:
            trouble = Trouble(level, evaluation.description or "", row.run_id)
        return Observation(Subject(Kind.CHECK, row.key.name, row.partition or ""), at, row.run_id, trouble)

    def _standing_checks(self) -> Iterator[Observation]:
        """The newest answer of each check, per table partition where it has them."""
        for info in self._storage.get_asset_check_partition_info(self._keys):
            if info.latest_execution_status not in ANSWERED:
                continue
            rows = self._storage.get_asset_check_execution_history(
                info.check_key, limit=1, partition_filter=PartitionKeyFilter(key=info.partition_key)
            )
            for row in rows:
                if row.evaluation is not None:
                    yield self._observation(row, self._now)

    def _finished_runs(self, start: float) -> Iterator[tuple[str, tuple[float, tuple[Observation, ...]]]]:
        """Runs that ended after ``start``: a run's key to when it ended, and what that says of its lane."""
        ended = dg.RunsFilter(
            tags={PIPELINE_TAG: self._config.name}, statuses=ENDED, updated_after=datetime.fromtimestamp(start, UTC)
        )
        for record in self._instance.get_run_records(ended, limit=MAX_RUNS):
            at = _ended_at(record)
            if at >= start:
                yield f"run/{record.dagster_run.run_id}", (at, tuple(self._of_run(record)))

    def _standing_lanes(self) -> Iterator[Observation]:
        """What the newest runs say, of each lane."""
        for lane in range(self._config.lanes):
            ended = dg.RunsFilter(tags=Names.of(self._config).run_tags(lane), statuses=ENDED)
            for record in self._instance.get_run_records(ended, limit=RUNS_PER_LANE):
                yield from self._of_run(record)

    def _of_run(self, record: dg.RunRecord) -> Iterator[Observation]:
        run, at = record.dagster_run, _ended_at(record)
        lane, state = run.tags.get(LANE_TAG, ""), run.tags.get(LANE_STATE_TAG)
        if run.status == dg.DagsterRunStatus.FAILURE:
            kind = Kind.RUNS if state in (None, BUSY, LAYOUT) else Kind.LANE
            trouble = Trouble(Level.ERROR, failure_text(self._instance, run.run_id), run.run_id)
            yield Observation(Subject(kind, lane), at, run.run_id, trouble)
        elif state is None:  # a run that found the lane busy says nothing of it
            yield Observation(Subject(Kind.LANE, lane), at, run.run_id, None)
            yield Observation(Subject(Kind.RUNS, lane), at, run.run_id, None)


ANSWERED = (AssetCheckExecutionRecordStatus.SUCCEEDED, AssetCheckExecutionRecordStatus.FAILED)
"""Not: planned. A check that is running, or whose run died, is as it was."""

ENDED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]
"""Not: cancelled. That a person ended a run says nothing of the lane."""


def failure_text(instance: dg.DagsterInstance, run_id: str) -> str:
    """Why a run failed, as far as its events say: the step's own words, else Dagster's."""
    kinds = {dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE}
    says = ""
    for entry in instance.all_logs(run_id, of_type=kinds):
        event = entry.dagster_event
        if event is None:
            continue
        if event.is_step_failure:
            failure = event.step_failure_data.user_failure_data
            return (failure.description if failure else None) or event.message or ""
        says = event.message or says
    return says


def _ended_at(record: dg.RunRecord) -> float:
    return record.end_time if record.end_time is not None else record.update_timestamp.timestamp()
