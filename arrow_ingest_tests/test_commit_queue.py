"""The order of commits, and what is told of those that landed when a pass ends in an error."""

import pytest

from arrow_ingest.errors import LaneFenced
from arrow_ingest.pipeline.commit_queue import CommitQueue


def commit_unless_negative(number: int) -> int:
    if number < 0:
        raise LaneFenced("events", 0)
    return number


def test_what_landed_before_a_failure_is_told_and_the_failure_is_not_raised() -> None:
    with CommitQueue(commit_unless_negative) as queue:  # type: ignore[arg-type]
        for number in (1, 2, -1, 3):
            queue.submit(number)
        assert list(queue.landed()) == [1, 2]


def test_nothing_is_committed_behind_a_failure() -> None:
    committed: list[int] = []

    def commit(number: int) -> int:
        committed.append(commit_unless_negative(number))
        return number

    with CommitQueue(commit) as queue:  # type: ignore[arg-type]
        for number in (1, -1, 2):
            queue.submit(number)
        assert queue.next_receipt(10) == 1
        for _ in range(2):
            with pytest.raises(LaneFenced):
                queue.next_receipt(10)
            queue._pending.popleft()
    assert committed == [1]
