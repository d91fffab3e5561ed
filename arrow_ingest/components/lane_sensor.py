"""The lane sensor: what the broker and Dagster's run history say of each lane to run requests, or reasons for none.

It runs in the code server every few seconds, so it never opens the lake (FACTS: losing the catalog may take the process
with it), never consumes, and asks the broker with a deadline of seconds.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import dagster as dg

from arrow_ingest.components.lane_supervision import Decision, LaneFacts, LaneRuns, Launch, Skip, TopicIdentity, decide
from arrow_ingest.components.names import LANE_STATE_TAG, Names
from arrow_ingest.config import PipelineConfig
from arrow_ingest.errors import TransientError
from arrow_ingest.kafka.cluster import Cluster
from arrow_ingest.kafka.group_offsets import GroupOffsets
from arrow_ingest.values import TopicState, partitions_of_lane

TICK_SECONDS = 5
BROKER_SECONDS = 5.0
"""Deadline of one question to the broker; Dagster's own for a tick is a minute."""

OBSERVE_CHANGED_SECONDS = 15
OBSERVE_SECONDS = 60

HISTORY = 8
"""Finished runs that are looked at; longer series of failures do not lengthen the backoff."""

OVERDUE = timedelta(minutes=2)
"""A run that outlives its own maximum by this much no longer counts as in flight: its process is gone (FACTS: the
default launcher does not notice). Should it be alive after all, the lane's lock sends the new run away."""

IN_FLIGHT = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


@dataclass(frozen=True, slots=True)
class Memory:
    """What one tick leaves for the next, in the sensor's cursor.

    Args:
        seen: per lane, the topic as it was when the last run was asked for.
        observed: the high watermarks that were last reported.
        observed_at: when, in Unix seconds.
    """

    seen: dict[int, TopicIdentity]
    observed: dict[int, int]
    observed_at: float

    @classmethod
    def parse(cls, cursor: str | None) -> "Memory":
        """What a cursor holds; nothing when it is empty or was written by other code."""
        try:
            raw = json.loads(cursor or "")
            return cls(
                seen={int(lane): TopicIdentity(*identity) for lane, identity in raw["seen"].items()},
                observed={int(partition): int(offset) for partition, offset in raw["observed"].items()},
                observed_at=float(raw["observed_at"]),
            )
        except (ValueError, TypeError, LookupError, AttributeError):
            return cls(seen={}, observed={}, observed_at=0.0)

    def text(self) -> str:
        """As a cursor.

        >>> memory = Memory({0: TopicIdentity("id", 8)}, {0: 5}, 1.5)
        >>> Memory.parse(memory.text()) == memory
        True
        """
        seen = {lane: (identity.topic_id, identity.partitions) for lane, identity in self.seen.items()}
        return json.dumps({"seen": seen, "observed": self.observed, "observed_at": self.observed_at})

    def is_observation_due(self, high: dict[int, int], now: datetime) -> bool:
        """Whether the watermarks should be reported: at most every 15 s while they move, once a minute otherwise."""
        age_seconds = now.timestamp() - self.observed_at
        return age_seconds >= (OBSERVE_CHANGED_SECONDS if high != self.observed else OBSERVE_SECONDS)


def build_lane_sensor(config: PipelineConfig) -> dg.SensorDefinition:
    """The sensor that keeps at most one run per lane alive while there is work; under a cron it only observes."""
    names, topic = Names.of(config), config.kafka.topic
    launches = f"Keeps one run per lane of {config.name} alive while {topic} has unread messages."

    @dg.sensor(
        name=names.sensor,
        job_name=names.job,
        minimum_interval_seconds=TICK_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=launches if config.run.cron is None else f"Reports what {topic} holds; a schedule starts the runs.",
    )
    def lane_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        try:
            with (
                Cluster(config.kafka, timeout_seconds=BROKER_SECONDS) as cluster,
                GroupOffsets(config.kafka, config.group, timeout_seconds=BROKER_SECONDS) as offsets,
            ):
                topic, mirrored = cluster.topic_state(), offsets.read()
        except TransientError as error:
            return dg.SensorResult(skip_reason=str(error), cursor=context.cursor)
        return _tick(config, context, topic, mirrored)

    return lane_sensor


def _tick(
    config: PipelineConfig, context: dg.SensorEvaluationContext, topic: TopicState, mirrored: dict[int, int]
) -> dg.SensorResult:
    now, memory = datetime.now(UTC), Memory.parse(context.cursor)
    identity = TopicIdentity(topic.topic_id, len(topic.partitions))
    facts: dict[int, LaneFacts] = {}
    for lane in range(config.lanes):
        mine = partitions_of_lane(topic.partitions, lane, config.lanes)
        facts[lane] = LaneFacts(
            now=now,
            topic=identity,
            seen=memory.seen.get(lane),
            high={partition: topic.high[partition] for partition in mine},
            mirrored={partition: mirrored[partition] for partition in mine if partition in mirrored},
            runs=lane_runs(config, context.instance, lane, now),
        )
    return _asked(config, context, topic, facts, memory)


def _asked(
    config: PipelineConfig,
    context: dg.SensorEvaluationContext,
    topic: TopicState,
    facts: dict[int, LaneFacts],
    memory: Memory,
) -> dg.SensorResult:
    """The tick's result: runs to launch, an observation when one is due, and what the next tick should know."""
    names, now = Names.of(config), next(iter(facts.values())).now
    decisions = {lane: _decision(config, known) for lane, known in facts.items()}
    launched = [lane for lane, decision in decisions.items() if isinstance(decision, Launch)]
    for lane in launched:
        context.log.info("lane %d: %s", lane, decisions[lane].reason)
    events = []
    if memory.is_observation_due(dict(topic.high), now):
        events = [observation(names, topic, sum(known.lag for known in facts.values()))]
        memory = replace(memory, observed=dict(topic.high), observed_at=now.timestamp())
    seen = {lane: known.topic for lane, known in facts.items() if lane in launched or known.seen is None}
    return dg.SensorResult(
        run_requests=[dg.RunRequest(tags=names.run_tags(lane)) for lane in launched],
        skip_reason=None if launched else said(decisions),
        asset_events=events,
        cursor=replace(memory, seen={**memory.seen, **seen}).text(),
    )


def _decision(config: PipelineConfig, facts: LaneFacts) -> Decision:
    return decide(facts) if config.run.cron is None else Skip(f"runs start by the schedule, {config.run.cron}")


def lane_runs(config: PipelineConfig, instance: dg.DagsterInstance, lane: int, now: datetime) -> LaneRuns:
    """What the run history says of a lane, whoever launched its runs: a run tags itself with the lane it drains."""
    tags = Names.of(config).run_tags(lane)
    longest = timedelta(seconds=config.run.max_run_seconds) + OVERDUE
    active = instance.get_run_records(dg.RunsFilter(tags=tags, statuses=IN_FLIGHT), limit=HISTORY)
    alive = [record.dagster_run.run_id for record in active if not is_overdue(record, now, longest)]
    finished = instance.get_run_records(dg.RunsFilter(tags=tags, statuses=FINISHED), limit=HISTORY)
    return LaneRuns(
        in_flight=alive[0][:8] if alive else None,
        ended_at=_ended_at(finished[0]) if finished else None,
        failures=failures_in_a_row([record.dagster_run.status for record in finished]),
        lane_state=finished[0].dagster_run.tags.get(LANE_STATE_TAG) if finished else None,
    )


def is_overdue(record: dg.RunRecord, now: datetime, longest: timedelta) -> bool:
    """Whether a run should have ended long ago; one that waits in the queue is never overdue."""
    if record.dagster_run.status == dg.DagsterRunStatus.QUEUED:
        return False
    began = record.create_timestamp.timestamp() if record.start_time is None else record.start_time
    return now.timestamp() - began > longest.total_seconds()


def failures_in_a_row(statuses: Sequence[dg.DagsterRunStatus]) -> int:
    """How many of the newest runs failed, newest first.

    >>> failed, ok = dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS
    >>> failures_in_a_row([failed, failed, ok, failed])
    2
    """
    return next((n for n, status in enumerate(statuses) if status != dg.DagsterRunStatus.FAILURE), len(statuses))


def observation(names: Names, topic: TopicState, lag: int) -> dg.AssetObservation:
    """What the broker says of the topic, as numbers that the UI plots. It has no data version (FACTS)."""
    return dg.AssetObservation(
        names.topic,
        metadata={
            "lag": lag,
            "messages": sum(topic.high[p] - topic.low[p] for p in topic.partitions),
            "partitions": len(topic.partitions),
            "topic_id": topic.topic_id,
            "high_watermarks": dg.MetadataValue.json({str(p): topic.high[p] for p in topic.partitions}),
        },
    )


def said(decisions: dict[int, Decision]) -> str:
    """Why no run was asked for, in one line."""
    if len(decisions) == 1:
        return next(iter(decisions.values())).reason
    return "; ".join(f"lane {lane}: {decision.reason}" for lane, decision in sorted(decisions.items()))


def _ended_at(record: dg.RunRecord) -> datetime:
    ended = record.end_time if record.end_time is not None else record.update_timestamp.timestamp()
    return datetime.fromtimestamp(ended, tz=UTC)
