"""The ledger, the lanes' rows and what the broker says in, findings out: do the offsets hang together? Pure."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import pairwise

from arrow_ingest.lake.findings import Code, Finding
from arrow_ingest.lake.ledger import LedgerEntry
from arrow_ingest.values import CommitKind, LaneState, OffsetRange, TopicState


def check_ledger(commits: Iterable[LedgerEntry], lanes: Iterable[LaneState]) -> Iterator[Finding]:
    """Per generation and partition, ranges join up without overlap and end at the stored offset."""
    commits, lanes = tuple(commits), tuple(lanes)
    logs = _ranges_by_log(commits)
    for (generation, partition), ranges in sorted(logs.items()):
        for before, after in pairwise(ranges):
            if before.stop != after.start:
                code = Code.LEDGER_GAP if before.stop < after.start else Code.LEDGER_OVERLAP
                where = f"generation {generation}, partition {partition}"
                yield Finding(code, f"{where}: [{before.start}, {before.stop}) and then [{after.start}, {after.stop})")
    yield from _check_ends(logs, lanes)
    yield from _check_topic_ids(commits, lanes)
    for commit in commits:
        if commit.kind is CommitKind.GAP:
            given_up = ", ".join(f"{part.partition}: [{part.start}, {part.stop})" for part in commit.ranges)
            yield Finding(Code.OFFSETS_GIVEN_UP, f"an operator gave up {given_up} (snapshot {commit.snapshot_id})")


def check_topic(lanes: Iterable[LaneState], topic: TopicState) -> Iterator[Finding]:
    """Stored offsets lie in what the broker holds; of what it no longer holds, nothing is asked."""
    for lane in lanes:
        if lane.topic_id != topic.topic_id:
            detail = f"lane {lane.lane} reads topic id {lane.topic_id}, the broker has {topic.topic_id}"
            yield Finding(Code.TOPIC_RECREATED, detail)
            continue
        for partition, stored in lane.offsets.items():
            low, high = topic.low.get(partition, 0), topic.high.get(partition, 0)
            where = f"partition {partition}: stored offset {stored}, the broker holds [{low}, {high})"
            if stored > high:
                yield Finding(Code.BEYOND_LOG, where)
            elif stored < low:
                yield Finding(Code.LOG_TRUNCATED, where)


def _ranges_by_log(commits: Iterable[LedgerEntry]) -> dict[tuple[int, int], list[OffsetRange]]:
    """All ranges that were read or given up, per (generation, partition), ascending."""
    logs: dict[tuple[int, int], list[OffsetRange]] = defaultdict(list)
    for commit in commits:
        if commit.kind in (CommitKind.INGEST, CommitKind.GAP):
            for part in commit.ranges:
                logs[commit.generation, part.partition].append(part)
    return {log: sorted(ranges) for log, ranges in logs.items()}


def _check_ends(logs: dict[tuple[int, int], list[OffsetRange]], lanes: Iterable[LaneState]) -> Iterator[Finding]:
    """A partition without a range yet stands where it was started."""
    for lane in lanes:
        for partition, stored in lane.offsets.items():
            ranges = logs.get((lane.generation, partition))
            if ranges and (end := max(part.stop for part in ranges)) != stored:
                where = f"generation {lane.generation}, partition {partition}"
                yield Finding(Code.OFFSET_MOVED, f"{where}: the ledger ends at {end}, lane {lane.lane} at {stored}")


def _check_topic_ids(commits: Iterable[LedgerEntry], lanes: Iterable[LaneState]) -> Iterator[Finding]:
    """A generation is one topic id."""
    ids: dict[int, set[str]] = defaultdict(set)
    for commit in commits:
        ids[commit.generation].add(commit.topic_id)
    for lane in lanes:
        ids[lane.generation].add(lane.topic_id)
    for generation, found in sorted(ids.items()):
        if len(found) > 1:
            yield Finding(Code.TOPIC_ID_DIFFERS, f"generation {generation} has topic ids {', '.join(sorted(found))}")
