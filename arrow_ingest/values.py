"""The values that rooms hand each other: offset ranges, lane rows, rejections, dead letters, receipts.

All are frozen and refuse nonsense at birth. Offset ranges are half-open ``[start, stop)``: ``stop`` is the next offset
to read. Units stand in the names.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

import pyarrow as pa

from arrow_ingest.errors import SuspendReason

NO_EPOCH = -1
"""The leader epoch of a position that no record has given yet."""


@dataclass(frozen=True, slots=True, order=True)
class OffsetRange:
    """Half-open range ``[start, stop)`` of one Kafka partition.

    >>> OffsetRange(partition=0, start=5, stop=9).count
    4
    """

    partition: int
    start: int
    stop: int

    def __post_init__(self) -> None:
        if self.partition < 0 or self.start < 0 or self.stop < self.start:
            raise ValueError(f"not an offset range: partition {self.partition}, [{self.start}, {self.stop})")

    @property
    def count(self) -> int:
        """Offsets in the range; some of them may hold control or compacted-away records."""
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class Position:
    """Where to read next in one partition: the offset, and the leader epoch of the record before it."""

    offset: int
    leader_epoch: int = NO_EPOCH

    def __post_init__(self) -> None:
        if self.offset < 0:
            raise ValueError(f"not a position: offset {self.offset}")


@dataclass(frozen=True, slots=True)
class TopicState:
    """What a broker said of a topic: identity and, per partition, the low and high watermark (read_committed end)."""

    topic: str
    topic_id: str
    low: Mapping[int, int]
    high: Mapping[int, int]

    @property
    def partitions(self) -> tuple[int, ...]:
        """Partition numbers, ascending."""
        return tuple(sorted(self.high))


@dataclass(frozen=True, slots=True)
class LaneState:
    """One lane's row in the lake: the only truth about what to read next.

    Args:
        layout: how many lanes the pipeline has; part of the fence.
        generation: counts topic ids: 0, 1, … as a topic is made again.
        positions: next position per partition of this lane.
        suspended: why the lane is suspended, None while it is active.
        reason: the incident in words, empty while the lane is active.
        updated_at: when the row was written, as the lake says; None: it is not read from the lake.
    """

    pipeline: str
    lane: int
    layout: int
    generation: int
    topic_id: str
    positions: Mapping[int, Position]
    suspended: SuspendReason | None = None
    reason: str = ""
    updated_at: datetime | None = field(default=None, compare=False)

    @property
    def offsets(self) -> dict[int, int]:
        """Next offset per partition, ascending by partition."""
        return {partition: self.positions[partition].offset for partition in sorted(self.positions)}

    @property
    def is_retired(self) -> bool:
        """Whether the layout has fewer lanes than that: the row stays, without partitions, to fence old runs."""
        return self.lane >= self.layout


class Reason(StrEnum):
    """Reason codes of dead letters; stored in the lake, so never renamed."""

    NO_VALUE = "no_value"
    TOO_LARGE = "too_large"
    FRAMING = "framing"
    TRUNCATED = "truncated"
    TRAILING_BYTES = "trailing_bytes"
    METADATA = "metadata"
    TOO_MANY_ROWS = "too_many_rows"
    TOO_MANY_BATCHES = "too_many_batches"
    TOO_MANY_COLUMNS = "too_many_columns"
    TOO_DEEP = "too_deep"
    TOO_MANY_DICTIONARIES = "too_many_dictionaries"
    DECLARED_SIZE = "declared_size"
    LOGICAL_SIZE = "logical_size"
    TYPE_NOT_ALLOWED = "type_not_allowed"
    SCHEMA_CONFLICT = "schema_conflict"
    SCHEMA_FROZEN = "schema_frozen"
    INVALID_NAME = "invalid_name"
    INVALID_DATA = "invalid_data"
    TOO_MANY_PARTITIONS = "too_many_partitions"
    PARTITION_VALUE = "partition_value"
    CAST = "cast"
    STAGING = "staging"
    OUT_OF_RANGE = "out_of_range"
    LATE = "late"


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a message cannot become rows. Bad data is a value, not an exception."""

    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that could not become rows, kept whole.

    ``payload`` may alias librdkafka's receive buffer; it stays valid as long as this value lives.
    """

    generation: int
    partition: int
    offset: int
    timestamp_ms: int | None
    key: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    payload: pa.Buffer | None
    rejection: Rejection


class CopyCause(StrEnum):
    """Why received bytes were copied on their way to the Parquet writer."""

    DECOMPRESSED = "decompressed"
    SPLIT_BY_PARTITION = "split_by_partition"
    DICTIONARY = "dictionary"
    WIDENED = "widened"
    CAST = "cast"


@dataclass(frozen=True, slots=True)
class Copies:
    """Bytes copied on the way, by cause. Declared casts are counted apart (``cast_bytes``).

    >>> (Copies({CopyCause.CAST: 5}) + Copies({CopyCause.CAST: 1, CopyCause.DECOMPRESSED: 7})).copied_bytes
    7
    """

    by_cause: Mapping[CopyCause, int] = field(default_factory=dict)

    def __add__(self, other: "Copies") -> "Copies":
        causes = {*self.by_cause, *other.by_cause}
        return Copies({cause: self.by_cause.get(cause, 0) + other.by_cause.get(cause, 0) for cause in sorted(causes)})

    @property
    def copied_bytes(self) -> int:
        """All causes but declared casts."""
        return sum(size for cause, size in self.by_cause.items() if cause is not CopyCause.CAST)

    @property
    def cast_bytes(self) -> int:
        """Bytes written by the casts that the pipeline's YAML declares."""
        return self.by_cause.get(CopyCause.CAST, 0)


@dataclass(frozen=True, slots=True)
class TouchedPartition:
    """What one commit added to one table partition; ``value`` is its Dagster key, None for the NULL partition."""

    value: str | None
    rows: int
    files: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class StagedFile:
    """A Parquet file that no snapshot refers to yet.

    Args:
        path: local path or URL, as `ducklake_add_data_files` takes it.
        partition_value: the table partition's key, None for the NULL partition or an unpartitioned table.
        staged_at: wall clock when the file was opened; the orphan guard counts from here.
    """

    path: str
    partition_value: str | None
    rows: int
    size_bytes: int
    staged_at: datetime


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file below the data path as its store lists it; ``path`` as DuckLake names it."""

    path: str
    size_bytes: int
    modified_at: datetime

    @property
    def name(self) -> str:
        """The path without its folder."""
        return self.path.rpartition("/")[2]


class CommitKind(StrEnum):
    """What a ledger row records; stored in the lake, so never renamed."""

    INGEST = "ingest"
    GAP = "gap"
    REBASE = "rebase"
    REPLAY = "replay"
    REBUILD = "rebuild"
    RELAYOUT = "relayout"


@dataclass(frozen=True, slots=True)
class Tally:
    """Messages and rows of a micro-batch. ``messages = with_rows + empty + dead``; ``nulled`` counts cast values."""

    messages: int = 0
    rows: int = 0
    empty: int = 0
    dead: int = 0
    nulled: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            messages=self.messages + other.messages,
            rows=self.rows + other.rows,
            empty=self.empty + other.empty,
            dead=self.dead + other.dead,
            nulled=self.nulled + other.nulled,
        )


@dataclass(frozen=True, slots=True)
class Receipt:
    """What one commit did.

    Args:
        snapshot_id: the DuckLake snapshot that holds rows, dead letters, schema change and offsets together.
        bytes_received: payload bytes of the range as Kafka delivered them.
        bytes_on_disk: size of the Parquet files that the commit added.
        stage_seconds: from the first message of the micro-batch to its last closed file.
        commit_seconds: from BEGIN to the answer of COMMIT, retries included.
    """

    commit_id: str
    pipeline: str
    lane: int
    snapshot_id: int
    generation: int
    ranges: tuple[OffsetRange, ...]
    tally: Tally
    touched: tuple[TouchedPartition, ...]
    copies: Copies
    schema_changes: tuple[str, ...]
    bytes_received: int
    bytes_on_disk: int
    files: int
    stage_seconds: float
    commit_seconds: float
    committed_at: datetime

    def log_line(self) -> str:
        """The one line per commit that the log gets."""
        offsets = ",".join(f"{r.partition}:[{r.start},{r.stop})" for r in self.ranges)
        return (
            f"flushed batch rows={self.tally.rows} files={self.files} bytes={self.bytes_on_disk} "
            f"snapshot={self.snapshot_id} offsets={offsets}"
        )


def ranges_between(start: Mapping[int, int], stop: Mapping[int, int]) -> tuple[OffsetRange, ...]:
    """The non-empty ranges from ``start`` to ``stop`` per partition, ascending.

    >>> ranges_between({0: 5, 1: 9}, {0: 7, 1: 9})
    (OffsetRange(partition=0, start=5, stop=7),)
    """
    return tuple(
        OffsetRange(partition, start[partition], stop[partition])
        for partition in sorted(stop)
        if stop[partition] > start[partition]
    )


def partitions_of_lane(partitions: Iterable[int], lane: int, lanes: int) -> tuple[int, ...]:
    """The Kafka partitions that a lane drains: every ``lanes``-th one, so that added partitions find their lane.

    >>> partitions_of_lane(range(8), lane=1, lanes=3)
    (1, 4, 7)
    """
    return tuple(sorted(partition for partition in partitions if partition % lanes == lane))


class Point(StrEnum):
    """Labelled points of a drain, in order; crash tests stop the process there."""

    FETCHED = "fetched"
    DECODED = "decoded"
    STAGED = "staged"
    BEGUN = "begun"
    FENCED = "fenced"
    FILES_ADDED = "files_added"
    LEDGER_WRITTEN = "ledger_written"
    COMMITTED = "committed"
    MIRRORED = "mirrored"


def ignore(point: Point) -> None:
    """The observer of production: does nothing."""


def touched_partitions(files: Iterable[StagedFile]) -> tuple[TouchedPartition, ...]:
    """What staged files add to each table partition, ascending by partition key, the NULL partition last."""
    by_value: dict[str | None, list[StagedFile]] = {}
    for file in files:
        by_value.setdefault(file.partition_value, []).append(file)
    return tuple(
        TouchedPartition(value, sum(f.rows for f in added), len(added), sum(f.size_bytes for f in added))
        for value, added in sorted(by_value.items(), key=lambda item: (item[0] is None, item[0] or ""))
    )
