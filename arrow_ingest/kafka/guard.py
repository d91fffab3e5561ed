"""A lane's row and the topic as it is now to "go on" or the incident that suspends the lane."""

from arrow_ingest.errors import LaneSuspended, SuspendReason
from arrow_ingest.values import LaneState, TopicState


def check_log(lane: LaneState, topic: TopicState) -> None:
    """Refuse to read a log that is not the one the lane has read so far.

    Kafka itself says nothing: a topic that was made again answers like the old one, also with
    ``auto.offset.reset=error``; only its id tells. Partitions that the lane does not know are not its business.

    Raises:
        LaneSuspended: the first incident, the topic's identity before its partitions, these in ascending order.

    >>> from arrow_ingest.values import Position
    >>> lane = LaneState("events", 0, 1, 0, "id-1", {0: Position(5)})
    >>> check_log(lane, TopicState("t", "id-1", low={0: 5}, high={0: 5}))
    >>> check_log(lane, TopicState("t", "id-2", low={0: 0}, high={0: 9}))
    Traceback (most recent call last):
    ...
    arrow_ingest.errors.LaneSuspended: lane suspended (topic_recreated): topic t was made again: the lake holds \
records of topic id id-1, the broker now has id-2, whose offsets mean other records
    """
    if topic.topic_id != lane.topic_id:
        raise LaneSuspended(
            SuspendReason.TOPIC_RECREATED,
            f"topic {topic.topic} was made again: the lake holds records of topic id {lane.topic_id}, the broker now "
            f"has {topic.topic_id}, whose offsets mean other records",
        )
    for partition, wanted in lane.offsets.items():
        if partition not in topic.high:
            raise LaneSuspended(
                SuspendReason.PARTITION_REMOVED,
                f"topic {topic.topic} no longer has partition {partition}, which was read up to offset {wanted}",
                partition=partition,
                expected=wanted,
            )
        if incident := outside(topic.topic, partition, wanted, (topic.low[partition], topic.high[partition])):
            raise incident


def outside(topic: str, partition: int, wanted: int, available: tuple[int, int]) -> LaneSuspended | None:
    """The incident of a next offset that is not in ``[low, end]``; None if it is.

    >>> outside("t", 0, 5, (5, 5)) is None
    True
    >>> outside("t", 0, 5, (7, 9)).detail
    'partition 0 of t: offset 5 is next, but [5, 7) was removed before it was read; the broker holds [7, 9)'
    >>> outside("t", 0, 5, (0, 3)).detail
    'partition 0 of t: offset 5 is next, but [3, 5) was lost after it was read; the broker holds [0, 3)'
    """
    low, end = available
    if low <= wanted <= end:
        return None
    if wanted < low:
        reason, what = SuspendReason.OFFSET_OUT_OF_RANGE, f"[{wanted}, {low}) was removed before it was read"
    else:
        reason, what = SuspendReason.LOG_TRUNCATED, f"[{end}, {wanted}) was lost after it was read"
    return LaneSuspended(
        reason,
        f"partition {partition} of {topic}: offset {wanted} is next, but {what}; the broker holds [{low}, {end})",
        partition=partition,
        expected=wanted,
        available=available,
    )
