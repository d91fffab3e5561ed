"""Dagster's runs and ticks to observations of what does not happen: lanes without runs, ticks that fail.

No event of a run tells of these, so each look answers anew how they stand.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import dagster as dg

# Internal in Dagster 1.13; a test pins what is used of them.
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, InstigatorTick, TickStatus

from arrow_ingest.alerts.incidents import Kind, Level, Observation, Subject, Trouble
from arrow_ingest.components.lane_sensor import IN_FLIGHT, OVERDUE, is_overdue
from arrow_ingest.components.names import Names
from arrow_ingest.config import PipelineConfig

FAILED_TICKS = 3
"""Of a sensor, which ticks every few seconds, so many in a row are an incident; of a schedule, one is."""

WORKS = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
"""A run in one of these is at work; one that waits in the queue, or starts for ever, is not."""


def standing(instance: dg.DagsterInstance, config: PipelineConfig, now: float) -> Iterator[Observation]:
    """How the pipeline's lanes, sensor and schedules stand; nothing of those that nothing is known of."""
    names, states = Names.of(config), instance.all_instigator_state()
    ticks: dict[str, Sequence[InstigatorTick]] = {}
    for name in (names.sensor, names.schedule, names.maintenance_schedule):
        if (state := _newest(states, name)) is not None:
            enough = FAILED_TICKS if name == names.sensor else 1
            ticks[name] = _finished(instance, state, enough)
            yield from _of_ticks(name, ticks[name], enough)
    sensor = _newest(states, names.sensor)
    if config.run.cron is None and sensor is not None:
        is_on = sensor.status != InstigatorStatus.STOPPED
        said = next((tick.skip_reason for tick in ticks[names.sensor] if tick.skip_reason), "")
        for lane in range(config.lanes):
            yield from _of_lane(instance, config, lane, now, is_on=is_on, said=said or "")


def _newest(states: Sequence[InstigatorState], name: str) -> InstigatorState | None:
    """The state of what has this name; of several code locations' the one that ticked last, or was turned last."""
    found = [state for state in states if state.instigator_name == name]
    return max(
        found, key=lambda state: getattr(state.instigator_data, "last_tick_timestamp", None) or 0.0, default=None
    )


def _finished(instance: dg.DagsterInstance, state: InstigatorState, count: int) -> Sequence[InstigatorTick]:
    ended = [TickStatus.SUCCESS, TickStatus.SKIPPED, TickStatus.FAILURE]
    return instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=count, statuses=ended)


def _of_ticks(name: str, newest: Sequence[InstigatorTick], enough: int) -> Iterator[Observation]:
    """Trouble while so many of the newest ticks failed; well once one did not."""
    if not newest:
        return
    failed = [tick.status == TickStatus.FAILURE for tick in newest]
    subject, at = Subject(Kind.TICKS, name), newest[0].timestamp
    if not failed[0]:
        yield Observation(subject, at, "", None)
    elif all(failed) and len(failed) == enough:
        error = newest[0].error
        says = error.message.strip() if error else "a tick failed"
        yield Observation(subject, at, "", Trouble(Level.ERROR, says, ""))


def _of_lane(
    instance: dg.DagsterInstance, config: PipelineConfig, lane: int, now: float, *, is_on: bool, said: str
) -> Iterator[Observation]:
    """Trouble when no run of the lane is at work and none ended lately; a run that failed is another incident's.

    Args:
        is_on: whether the lane's sensor is; a person who turned it off knows.
        said: why the sensor's newest tick asked for no run.
    """
    allowed, tags = config.alerts.stale_lane_seconds, Names.of(config).run_tags(lane)
    subject = Subject(Kind.STALE, str(lane))
    records = instance.get_run_records(dg.RunsFilter(tags=tags), limit=10)
    if allowed is None or not is_on or not records:
        yield Observation(subject, now, "", None)
        return
    longest = timedelta(seconds=config.run.max_run_seconds) + OVERDUE
    looked_at = datetime.fromtimestamp(now, UTC)
    runs = [(record, record.dagster_run) for record in records]
    if any(run.status in WORKS and not is_overdue(record, looked_at, longest) for record, run in runs):
        yield Observation(subject, now, "", None)
        return
    ended = [
        record.end_time or record.update_timestamp.timestamp() for record, run in runs if run.status not in IN_FLIGHT
    ]
    since = max(ended, default=min(record.create_timestamp.timestamp() for record, _ in runs))
    if now - since <= allowed:
        yield Observation(subject, now, "", None)
        return
    waiting = [run for _, run in runs if run.status in IN_FLIGHT]
    why = f"run {waiting[0].run_id[:8]} is {waiting[0].status.value.lower()}" if waiting else said
    says = f"no run of lane {lane} has ended for {(now - since) / 60:.0f} minutes, and none is at work"
    run_id = waiting[0].run_id if waiting else ""
    yield Observation(subject, now, run_id, Trouble(Level.ERROR, f"{says}: {why}" if why else says, run_id))
