"""The schedule of a producer, on a clock that only sleeping moves."""

import pytest

from arrow_ingest.producer.rate import Rate, paced


class Clock:
    """Seconds that pass when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def test_items_come_evenly():
    clock = Clock()

    times = [clock.now - 100 for _ in paced(range(4), Rate(10), clock=clock, sleep=clock.sleep)]

    assert times == pytest.approx([0.0, 0.1, 0.2, 0.3])


def test_no_rate_never_sleeps():
    clock = Clock()

    assert list(paced(range(1_000), Rate(0), clock=clock, sleep=clock.sleep)) == list(range(1_000))
    assert clock.slept == []


def test_a_slow_consumer_catches_up():
    clock = Clock()
    times = []

    for item in paced(range(6), Rate(10), clock=clock, sleep=clock.sleep):
        times.append(clock.now - 100)
        if item == 1:
            clock.now += 0.3

    assert times == pytest.approx([0.0, 0.1, 0.4, 0.4, 0.4, 0.5])


def test_a_sleep_that_returns_early_is_called_again():
    clock = Clock()

    times = [clock.now - 100 for _ in paced(range(2), Rate(1), clock=clock, sleep=lambda s: clock.sleep(min(s, 0.3)))]

    assert times == pytest.approx([0.0, 1.0])


def test_a_negative_rate_is_refused():
    with pytest.raises(ValueError, match="not a rate"):
        Rate(-1)
