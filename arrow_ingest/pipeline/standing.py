"""Where a pipeline stands: the lake's lane rows and last commits beside the broker's watermarks."""

from dataclasses import dataclass

from arrow_ingest.config import PipelineConfig
from arrow_ingest.errors import TransientError
from arrow_ingest.kafka.cluster import Cluster
from arrow_ingest.lake.catalog import catalog_of
from arrow_ingest.lake.lanes import read_lanes
from arrow_ingest.lake.ledger import LedgerEntry, last_commits
from arrow_ingest.lake.session import open_lake
from arrow_ingest.values import LaneState, TopicState

ASK_SECONDS = 5.0
"""How long somebody at a terminal waits to hear that the broker does not answer."""


@dataclass(frozen=True, slots=True)
class PartitionStanding:
    """One Kafka partition: what the lake wants next, and the range ``[low, high)`` that the broker holds.

    Args:
        next: None: no lane has read it yet.
        low, high: None: the broker cannot be asked, or has no such partition.
    """

    partition: int
    lane: int
    next: int | None
    low: int | None
    high: int | None

    @property
    def lag(self) -> int | None:
        """Offsets to read; None where the broker cannot be asked."""
        if self.high is None:
            return None
        start = self.next if self.next is not None else self.low
        return max(0, self.high - (start or 0))


@dataclass(frozen=True, slots=True)
class Standing:
    """What lake and broker say of a pipeline.

    Args:
        lanes: empty: nothing was ever committed.
        commits: the last ones, the newest first.
        topic: None: the broker cannot be asked; ``unreachable`` says why.
    """

    config: PipelineConfig
    lanes: tuple[LaneState, ...]
    commits: tuple[LedgerEntry, ...]
    topic: TopicState | None
    unreachable: TransientError | None

    @property
    def layout(self) -> int | None:
        """How many lanes the lake has; None: nothing was ever committed."""
        return self.lanes[0].layout if self.lanes else None

    @property
    def partitions(self) -> tuple[PartitionStanding, ...]:
        """Every partition that the lake or the broker knows, ascending."""
        stored = {partition: lane.offsets[partition] for lane in self.lanes for partition in lane.positions}
        low, high = (self.topic.low, self.topic.high) if self.topic else ({}, {})
        layout = self.layout or self.config.lanes
        return tuple(
            PartitionStanding(
                partition, partition % layout, stored.get(partition), low.get(partition), high.get(partition)
            )
            for partition in sorted({*stored, *high})
        )

    def lag(self, lane: int | None = None) -> int | None:
        """Offsets to read, of one lane or of all; None where the broker cannot be asked."""
        if self.topic is None:
            return None
        return sum(entry.lag or 0 for entry in self.partitions if lane in (None, entry.lane))


def standing_of(config: PipelineConfig, *, commits: int = 0) -> Standing:
    """Ask the lake, then the broker: the other way round a drain that goes on would seem to be ahead of the log.

    Args:
        commits: how many of the last commits to read.

    Raises:
        CatalogUnavailable: there is a lake, and it cannot be read. That there is none yet is no error.
        ConfigError: settings of the broker or of the lake that cannot be used.
    """
    lanes, last = _in_lake(config, commits)
    topic, unreachable = at_broker(config)
    return Standing(config, lanes, last, topic, unreachable)


def lanes_of(config: PipelineConfig) -> tuple[LaneState, ...]:
    """The lanes' rows; empty while nothing was ever committed, or there is no lake yet.

    Raises:
        CatalogUnavailable: there is a lake, and it cannot be read.
    """
    return _in_lake(config, commits=0)[0]


def at_broker(config: PipelineConfig) -> tuple[TopicState | None, TransientError | None]:
    """What the broker says of the topic, or why it does not; after `ASK_SECONDS` at the latest.

    Raises:
        ConfigError: settings that cannot be used, or the brokers refuse the login.
    """
    try:
        with Cluster(config.kafka, timeout_seconds=ASK_SECONDS) as cluster:
            return cluster.topic_state(), None
    except TransientError as error:
        return None, error


def _in_lake(config: PipelineConfig, commits: int) -> tuple[tuple[LaneState, ...], tuple[LedgerEntry, ...]]:
    if not catalog_of(config.lake).exists():
        return (), ()
    with open_lake(config.lake, read_only=True) as lake:
        lanes = read_lanes(lake, config.name)
        return lanes, last_commits(lake, config.name, commits) if lanes and commits else ()
