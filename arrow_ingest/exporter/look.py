"""What one look at a pipeline found: the lake's numbers and the broker's, or that one of them did not answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from arrow_ingest.config import PipelineConfig
from arrow_ingest.lake.ledger_totals import LedgerTotal
from arrow_ingest.lake.maintenance.report import Census
from arrow_ingest.pipeline.standing import Standing
from arrow_ingest.values import CommitKind, LaneState, TopicState


@dataclass(frozen=True, slots=True)
class Snapshots:
    """Which snapshots the lake has, whatever pipeline made them."""

    newest_id: int
    newest_at: datetime
    oldest_at: datetime


@dataclass(frozen=True, slots=True)
class LakeNumbers:
    """What the lake says of a pipeline, as of one snapshot.

    Args:
        lanes: empty: nothing was ever committed.
        totals: of the ledger, by kind of commit.
        letters_waiting: dead letters that were neither replayed nor given up.
        commit_seconds: by lane, where it is known.
        partitions_to_merge: table partitions with more small files than the check small_files lets pass.
        snapshots: None: there is no lake yet.
    """

    lanes: tuple[LaneState, ...] = ()
    totals: Mapping[CommitKind, LedgerTotal] | None = None
    letters_waiting: int = 0
    commit_seconds: Mapping[int, float] | None = None
    census: Census = field(default_factory=Census)
    partitions_to_merge: int = 0
    snapshots: Snapshots | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """One look.

    Args:
        at: Unix seconds when it ended.
        seconds: how long it took.
        lake: None: the lake did not answer, or cannot be used.
        topic: None: the broker did not answer.
    """

    config: PipelineConfig
    at: float
    seconds: float
    lake: LakeNumbers | None
    topic: TopicState | None

    @property
    def standing(self) -> Standing | None:
        """Both beside each other, for the lag; None without either."""
        if self.lake is None or self.topic is None:
            return None
        return Standing(self.config, self.lake.lanes, (), self.topic, None)
