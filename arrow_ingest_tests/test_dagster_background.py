"""A drain on its own thread: what Dagster's interrupt meets, and what it does not."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from arrow_ingest.components.background import BackgroundDrain
from arrow_ingest.errors import LaneBusy
from arrow_ingest.values import Copies, Receipt, Tally


def receipt(snapshot_id: int) -> Receipt:
    return Receipt(
        commit_id=str(snapshot_id),
        pipeline="events",
        lane=0,
        snapshot_id=snapshot_id,
        generation=0,
        ranges=(),
        tally=Tally(),
        touched=(),
        copies=Copies(),
        schema_changes=(),
        bytes_received=0,
        bytes_on_disk=0,
        files=0,
        stage_seconds=0.0,
        commit_seconds=0.0,
        committed_at=datetime(2026, 11, 4, tzinfo=UTC),
    )


class Interrupted(BaseException):
    """As Dagster's: not an Exception, raised between any two lines."""


def test_receipts_arrive_in_order_and_the_drain_ends() -> None:
    def drain(stop: threading.Event) -> Iterator[Receipt | None]:
        yield receipt(1)
        yield None
        yield receipt(2)

    with BackgroundDrain(drain) as background:
        assert [found.snapshot_id for found in background if found is not None] == [1, 2]


def test_a_silent_drain_still_lets_the_caller_work() -> None:
    seen = threading.Event()

    def drain(stop: threading.Event) -> Iterator[Receipt | None]:
        assert seen.wait(30)
        yield receipt(1)

    with BackgroundDrain(drain, heartbeat_seconds=0.01) as background:
        found = iter(background)
        assert next(found) is None
        seen.set()
        assert any(item is not None for item in found)


def test_what_the_drain_raised_is_raised_after_its_receipts() -> None:
    def drain(stop: threading.Event) -> Iterator[Receipt | None]:
        yield receipt(1)
        raise LaneBusy("events", 0)

    with BackgroundDrain(drain) as background:
        found = (item for item in background if item is not None)
        assert next(found).snapshot_id == 1
        with pytest.raises(LaneBusy):
            next(found)


def test_an_interrupt_lets_the_drain_finish_its_micro_batch_and_release_the_lock() -> None:
    lock, done = threading.Lock(), []

    def drain(stop: threading.Event) -> Iterator[Receipt | None]:
        with lock:
            yield receipt(1)
            assert stop.wait(30)
            done.append("last micro-batch")

    def interrupted() -> None:
        with BackgroundDrain(drain) as background:
            for item in background:
                if item is not None:
                    raise Interrupted

    with pytest.raises(Interrupted):
        interrupted()
    assert done == ["last micro-batch"]
    assert not lock.locked()
