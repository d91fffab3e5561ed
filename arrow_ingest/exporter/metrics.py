"""A look at a pipeline to numbers with names: all that is served, each with kind, labels and meaning. Pure."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from arrow_ingest.exporter.look import LakeNumbers, Look
from arrow_ingest.lake.ledger_totals import LedgerTotal

Sample = tuple[tuple[str, ...], float]
"""Values of the labels behind ``pipeline``, and the number."""

PREFIX = "arrow_ingest_"


@dataclass(frozen=True, slots=True)
class Metric:
    """One name.

    Args:
        labels: those behind ``pipeline``.
        samples: what a look says of it; nothing where it does not know, which is not 0.
    """

    name: str
    says: str
    samples: Callable[[Look], Iterable[Sample]]
    labels: tuple[str, ...] = ()
    kind: Literal["gauge", "counter"] = "gauge"

    @property
    def full_name(self) -> str:
        """As it is queried."""
        return f"{PREFIX}{self.name}{'_total' if self.kind == 'counter' else ''}"


def _of_lake(number: Callable[[LakeNumbers], float | None]) -> Callable[[Look], Iterator[Sample]]:
    """One number, while the lake answers and knows it."""

    def samples(look: Look) -> Iterator[Sample]:
        if look.lake is not None and (value := number(look.lake)) is not None:
            yield (), value

    return samples


def _of_kinds(number: Callable[[LedgerTotal], int]) -> Callable[[Look], Iterator[Sample]]:
    """One number of the ledger, by kind of commit."""

    def samples(look: Look) -> Iterator[Sample]:
        for kind, total in (look.lake.totals or {}).items() if look.lake else ():
            yield (kind.value,), number(total)

    return samples


def _lane_suspended(look: Look) -> Iterator[Sample]:
    for lane in look.lake.lanes if look.lake else ():
        yield (str(lane.lane), lane.suspended or ""), int(lane.suspended is not None)


def _lane_moved(look: Look) -> Iterator[Sample]:
    for lane in look.lake.lanes if look.lake else ():
        if lane.updated_at is not None:
            yield (str(lane.lane),), lane.updated_at.timestamp()


def _commit_seconds(look: Look) -> Iterator[Sample]:
    for lane, seconds in sorted((look.lake.commit_seconds or {}).items()) if look.lake else ():
        yield (str(lane),), seconds


def _last_commit(lake: LakeNumbers) -> float | None:
    newest = sum((lake.totals or {}).values(), LedgerTotal()).last_at
    return newest.timestamp() if newest else None


def _lag(look: Look) -> Iterator[Sample]:
    for entry in look.standing.partitions if look.standing else ():
        if entry.lag is not None:
            yield (str(entry.lane), str(entry.partition)), entry.lag


def _ends(look: Look) -> Iterator[Sample]:
    for partition, offset in sorted(look.topic.high.items()) if look.topic else ():
        yield (str(partition),), offset


METRICS: tuple[Metric, ...] = (
    Metric("lake_up", "1 while the lake can be read.", lambda look: [((), int(look.lake is not None))]),
    Metric("broker_up", "1 while the broker answers for the topic.", lambda look: [((), int(look.topic is not None))]),
    Metric("looked_timestamp_seconds", "When these numbers were looked up.", lambda look: [((), look.at)]),
    Metric("look_seconds", "How long looking them up took.", lambda look: [((), look.seconds)]),
    Metric(
        "lag_messages", "Messages of a Kafka partition that the lake does not hold yet.", _lag, ("lane", "partition")
    ),
    Metric("end_offset", "The end of a Kafka partition, as read_committed sees it.", _ends, ("partition",)),
    Metric("lane_suspended", "1 while a lane waits for an operator.", _lane_suspended, ("lane", "reason")),
    Metric(
        "lane_moved_timestamp_seconds", "When a lane committed last, or an operator moved it.", _lane_moved, ("lane",)
    ),
    Metric("lanes", "Lanes that the lake has.", _of_lake(lambda lake: len(lake.lanes))),
    Metric("lanes_declared", "Lanes that the YAML says.", lambda look: [((), look.config.lanes)]),
    Metric("last_commit_timestamp_seconds", "When the newest commit was made.", _of_lake(_last_commit)),
    Metric(
        "commit_seconds",
        "How long a lane's last commit took that another one of its run followed.",
        _commit_seconds,
        ("lane",),
    ),
    Metric("commits", "Commits.", _of_kinds(lambda total: total.commits), ("kind",), "counter"),
    Metric("messages", "Messages that commits took.", _of_kinds(lambda total: total.messages), ("kind",), "counter"),
    Metric("rows", "Rows that commits brought.", _of_kinds(lambda total: total.rows), ("kind",), "counter"),
    Metric(
        "received_bytes",
        "Payload bytes as Kafka delivered them.",
        _of_kinds(lambda total: total.bytes_received),
        ("kind",),
        "counter",
    ),
    Metric(
        "dead_letters",
        "Messages that became dead letters, whatever became of them since.",
        _of_kinds(lambda total: total.dead),
        ("kind",),
        "counter",
    ),
    Metric(
        "dead_letters_waiting",
        "Dead letters that were neither replayed nor given up.",
        _of_lake(lambda lake: lake.letters_waiting),
    ),
    Metric("files", "Data files of the table and its dead letters.", _of_lake(lambda lake: lake.census.files)),
    Metric("files_bytes", "Their bytes.", _of_lake(lambda lake: lake.census.size_bytes)),
    Metric("small_files", "Those that merging takes.", _of_lake(lambda lake: lake.census.small_files)),
    Metric(
        "crowded_partitions",
        "Table partitions with more small files than maintenance should have left.",
        _of_lake(lambda lake: lake.partitions_to_merge),
    ),
    Metric(
        "files_with_deletes",
        "Data files of whose rows some are deleted.",
        _of_lake(lambda lake: lake.census.files_with_deletes),
    ),
    Metric(
        "old_files",
        "Files of the whole lake that no snapshot needs and that are still there.",
        _of_lake(lambda lake: lake.census.old_files),
    ),
    Metric(
        "ledger_rows", "Rows of the lake's ledger, of all pipelines.", _of_lake(lambda lake: lake.census.ledger_rows)
    ),
    Metric("snapshots", "Snapshots of the whole lake.", _of_lake(lambda lake: lake.census.snapshots)),
    Metric(
        "snapshot_id",
        "The lake's newest snapshot.",
        _of_lake(lambda lake: lake.snapshots.newest_id if lake.snapshots else None),
    ),
    Metric(
        "newest_snapshot_timestamp_seconds",
        "When it was made.",
        _of_lake(lambda lake: lake.snapshots.newest_at.timestamp() if lake.snapshots else None),
    ),
    Metric(
        "oldest_snapshot_timestamp_seconds",
        "When the oldest one was made that time travel reaches.",
        _of_lake(lambda lake: lake.snapshots.oldest_at.timestamp() if lake.snapshots else None),
    ),
)
"""All that is served, in this order."""
