"""The judgement over a lane's row and the log: every incident once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arrow_ingest.errors import LaneSuspended, SuspendReason
from arrow_ingest.kafka.guard import check_log, outside
from arrow_ingest.values import LaneState, Position, TopicState


def lane(**offsets: int) -> LaneState:
    positions = {int(name[1:]): Position(offset) for name, offset in offsets.items()}
    return LaneState("events", 0, 1, 0, "id", positions)


def topic(topic_id: str = "id", **ranges: tuple[int, int]) -> TopicState:
    named = {int(name[1:]): bounds for name, bounds in ranges.items()}
    return TopicState(
        "t", topic_id, low={p: low for p, (low, _) in named.items()}, high={p: high for p, (_, high) in named.items()}
    )


@pytest.mark.parametrize(
    "state", [topic(p0=(0, 5)), topic(p0=(5, 5)), topic(p0=(5, 9)), topic(p0=(2, 9)), topic(p0=(2, 9), p1=(0, 0))]
)
def test_a_position_inside_the_log_goes_on(state: TopicState) -> None:
    check_log(lane(p0=5), state)


@pytest.mark.parametrize(
    ("state", "reason", "partition", "available"),
    [
        (topic("other", p0=(0, 9), p1=(0, 9)), SuspendReason.TOPIC_RECREATED, None, None),
        (topic("other"), SuspendReason.TOPIC_RECREATED, None, None),
        (topic(p0=(0, 9)), SuspendReason.PARTITION_REMOVED, 1, None),
        (topic(p0=(0, 9), p1=(0, 4)), SuspendReason.LOG_TRUNCATED, 1, (0, 4)),
        (topic(p0=(0, 9), p1=(6, 9)), SuspendReason.OFFSET_OUT_OF_RANGE, 1, (6, 9)),
        (topic(p0=(0, 1), p1=(6, 9)), SuspendReason.LOG_TRUNCATED, 0, (0, 1)),
    ],
)
def test_another_log_suspends_the_lane(
    state: TopicState, reason: SuspendReason, partition: int | None, available: tuple[int, int] | None
) -> None:
    with pytest.raises(LaneSuspended) as suspended:
        check_log(lane(p0=5, p1=5), state)
    incident = suspended.value
    assert (incident.reason, incident.partition, incident.available) == (reason, partition, available)
    assert incident.expected == (None if partition is None else 5)


@given(low=st.integers(0, 20), count=st.integers(0, 20), wanted=st.integers(0, 50))
def test_exactly_the_offsets_from_low_to_the_end_are_inside(low: int, count: int, wanted: int) -> None:
    assert (outside("t", 0, wanted, (low, low + count)) is None) == (wanted in range(low, low + count + 1))
