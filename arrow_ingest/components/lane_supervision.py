"""What is known of a lane to one decision: launch a run, or skip and say why. Pure: no clock, no broker, no Dagster.

The sensor never asks the lake (FACTS: a process that has a catalog attached may die with it), so what it knows of the
lake is the copy that runs mirror to the consumer group. Where that copy is missing or strange, a run decides.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from arrow_ingest.components.names import BUSY, LAYOUT

RECONCILE_EVERY = timedelta(minutes=10)
"""A lane without a run for this long gets one, whatever its lag looks like."""

STRANGE_COPY_EVERY = timedelta(minutes=1)
"""A mirrored copy that no run repairs (no right to alter the group, say) is no reason for a run every few seconds."""

PROBE_SUSPENDED_EVERY = timedelta(minutes=3)
PROBE_BUSY_EVERY = timedelta(seconds=30)
PROBE_LAYOUT_EVERY = timedelta(minutes=1)
FIRST_BACKOFF = timedelta(seconds=5)
LONGEST_BACKOFF = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class TopicIdentity:
    """What a sensor remembers of a topic: a change means that a run has to look."""

    topic_id: str
    partitions: int


@dataclass(frozen=True, slots=True)
class LaneRuns:
    """What Dagster's run history says of a lane.

    Args:
        in_flight: id of the run that is queued or drains it now.
        ended_at: when the newest finished run ended; None: there was none.
        failures: how many of the newest finished runs failed in a row.
        lane_state: why the newest finished run could not drain the lane (its tag), None if it could.
    """

    in_flight: str | None = None
    ended_at: datetime | None = None
    failures: int = 0
    lane_state: str | None = None


@dataclass(frozen=True, slots=True)
class LaneFacts:
    """What the sensor knows of one lane.

    Args:
        seen: the topic as it was when the last run was asked for; None: nothing is remembered.
        high: the read_committed end of each of the lane's partitions.
        mirrored: the stored offsets as the consumer group shows them, where it shows any.
    """

    now: datetime
    topic: TopicIdentity
    seen: TopicIdentity | None
    high: Mapping[int, int]
    mirrored: Mapping[int, int]
    runs: LaneRuns

    @property
    def lag(self) -> int:
        """Offsets between the mirrored position and the end; partitions without a mirror do not count."""
        return sum(max(0, high - self.mirrored[p]) for p, high in self.high.items() if p in self.mirrored)


@dataclass(frozen=True, slots=True)
class Launch:
    """Ask for a run."""

    reason: str


@dataclass(frozen=True, slots=True)
class Skip:
    """Ask for nothing now."""

    reason: str


Decision = Launch | Skip


def decide(facts: LaneFacts) -> Decision:
    """Whether a lane needs a run now.

    >>> from datetime import UTC
    >>> now = datetime(2026, 11, 4, tzinfo=UTC)
    >>> topic = TopicIdentity("id", partitions=1)
    >>> def lane(**runs): return LaneFacts(now, topic, topic, high={0: 9}, mirrored={0: 5}, runs=LaneRuns(**runs))
    >>> decide(lane(ended_at=now))
    Launch(reason='lag 4')
    >>> decide(lane(in_flight="5f3a"))
    Skip(reason='run 5f3a is in flight')
    >>> decide(lane(ended_at=now, lane_state="log_truncated"))
    Skip(reason='suspended (log_truncated), next probe in 180 s')
    """
    if facts.runs.in_flight is not None:
        return Skip(f"run {facts.runs.in_flight} is in flight")
    return _rest(facts) or _wanted(facts) or Skip("caught up")


def backoff(failures: int) -> timedelta:
    """How long to wait after so many failed runs in a row.

    >>> [backoff(n).seconds for n in (0, 1, 2, 3, 40)]
    [0, 5, 10, 20, 300]
    """
    if failures == 0:
        return timedelta(0)
    return min(FIRST_BACKOFF * (1 << min(failures - 1, 16)), LONGEST_BACKOFF)


def decide_on_schedule(now: datetime, runs: LaneRuns) -> Decision:
    """Whether a tick of the schedule launches a run for a lane. The cron sets the pace, so there is no backoff.

    >>> from datetime import UTC
    >>> now = datetime(2026, 11, 4, tzinfo=UTC)
    >>> decide_on_schedule(now, LaneRuns(ended_at=now, failures=3))
    Launch(reason='scheduled')
    >>> decide_on_schedule(now, LaneRuns(in_flight="5f3a"))
    Skip(reason='run 5f3a is in flight')
    >>> decide_on_schedule(now, LaneRuns(ended_at=now, lane_state="log_truncated"))
    Skip(reason='suspended (log_truncated), next probe in 180 s')
    """
    if runs.in_flight is not None:
        return Skip(f"run {runs.in_flight} is in flight")
    return _probe(now, runs) or Launch("scheduled")


def _rest(facts: LaneFacts) -> Decision | None:
    """Whether the lane rests after what its newest run met."""
    runs = facts.runs
    if runs.ended_at is None:
        return None
    if probe := _probe(facts.now, runs):
        return probe
    since, pause = facts.now - runs.ended_at, backoff(runs.failures)
    if since < pause:
        return Skip(f"{runs.failures} failed in a row, next try in {(pause - since).total_seconds():.0f} s")
    return None


def _probe(now: datetime, runs: LaneRuns) -> Decision | None:
    """What becomes of a lane that its newest run could not drain; None where it could.

    A run looks again now and then: only runs can see the lake.
    """
    if runs.lane_state is None or runs.ended_at is None:
        return None
    since = now - runs.ended_at
    state, every = {
        BUSY: ("another process drains it", PROBE_BUSY_EVERY),
        LAYOUT: ("the lake has another number of lanes: run `arrow-ingest lanes apply`", PROBE_LAYOUT_EVERY),
    }.get(runs.lane_state, (f"suspended ({runs.lane_state})", PROBE_SUSPENDED_EVERY))
    if since < every:
        return Skip(f"{state}, next probe in {(every - since).total_seconds():.0f} s")
    return Launch(f"probe: {state}")


def _wanted(facts: LaneFacts) -> Launch | None:
    """Why the lane needs a run, if it does."""
    since = facts.now - facts.runs.ended_at if facts.runs.ended_at else None
    if facts.seen is not None and facts.seen.topic_id != facts.topic.topic_id:
        return Launch("the topic was made again")
    if facts.seen is not None and facts.seen.partitions != facts.topic.partitions:
        return Launch(f"the topic has {facts.topic.partitions} partitions, it had {facts.seen.partitions}")
    if facts.lag > 0:
        return Launch(f"lag {facts.lag}")
    strange = _strange_copy(facts)
    if strange and (since is None or since >= STRANGE_COPY_EVERY):
        return Launch(strange)
    if since is None or since >= RECONCILE_EVERY:
        return Launch("no run for long" if since else "no run yet")
    return None


def _strange_copy(facts: LaneFacts) -> str | None:
    """What is wrong with the mirrored offsets, if anything: only a run can tell what the lake holds."""
    if missing := sorted(facts.high.keys() - facts.mirrored.keys()):
        return f"no mirrored offset for partition {', '.join(map(str, missing))}"
    ahead = sorted(p for p, high in facts.high.items() if high < facts.mirrored[p])
    return f"the log ends before the mirrored offset of partition {', '.join(map(str, ahead))}" if ahead else None
