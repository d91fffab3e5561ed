"""How fast to send: a schedule that is pure, and an iterator that keeps to it."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Rate:
    """So many items per second, evenly; 0 means as fast as possible.

    >>> Rate(10).due_seconds(5), Rate(0).due_seconds(5)
    (0.5, 0.0)
    """

    per_second: float

    def __post_init__(self) -> None:
        if self.per_second < 0:
            raise ValueError(f"not a rate: {self.per_second} per second")

    def due_seconds(self, number: int) -> float:
        """When item ``number`` (the first is 0) is due, in seconds after the start."""
        return number / self.per_second if self.per_second else 0.0


def paced(
    items: Iterable[Item],
    rate: Rate,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
) -> Iterator[Item]:
    """The items, none before it is due. Whoever was held up catches up, so that the average holds.

    ``sleep`` may return early; it is then called again.
    """
    start = clock()
    for number, item in enumerate(items):
        due = start + rate.due_seconds(number)
        while (wait := due - clock()) > 0:
            sleep(wait)
        yield item
