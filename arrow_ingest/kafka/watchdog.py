"""Positions over time to "this partition is stuck": the judgement without the asking."""

from collections.abc import Mapping
from dataclasses import dataclass, field

LONGEST_STEP_SECONDS = 1.0
"""What one look at the queue may add to the clock, however long the reader was busy elsewhere before it."""


@dataclass(slots=True)
class Watchdog:
    """Finds partitions whose log goes on although nothing of it arrives.

    A message over ``receive.message.max.bytes`` makes librdkafka drop the connection and fetch the same again, with a
    log line and no error, for ever. Silence alone means nothing, since quiet partitions are silent too, so the broker
    is asked for the end of a silent partition, and only one that stays behind it for ``stall_seconds`` is stuck.

    The clock runs only while the reader looks at an empty queue: neither a reader that is busy or has paused, nor
    messages that wait in the queue behind others can make a partition look stuck.

    >>> dog = Watchdog(stall_seconds=8.0, positions={0: 5, 1: 9})
    >>> for _ in range(2):
    ...     dog.tick(600.0, {0: 5, 1: 9})             # counts one second each
    >>> dog.to_ask()                                  # silent for a quarter of stall_seconds
    0
    >>> dog.answer(0, end=5)                          # quiet: nothing to read
    >>> dog.to_ask(), dog.answer(1, end=10)           # behind: stuck only if it stays there
    (1, None)
    >>> for _ in range(8):
    ...     dog.tick(1.0, {0: 5, 1: 9})
    >>> dog.stalled()
    1
    >>> dog.tick(1.0, {0: 5, 1: 10})                  # it moved
    >>> dog.stalled() is None
    True
    """

    stall_seconds: float
    positions: Mapping[int, int]
    clock_seconds: float = 0.0
    _known_offset: dict[int, int] = field(init=False)
    _ask_at: dict[int, float] = field(init=False)
    _behind_since: dict[int, float] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._known_offset = dict(self.positions)
        self._ask_at = dict.fromkeys(self.positions, self._ask_every)

    @property
    def _ask_every(self) -> float:
        return self.stall_seconds / 4

    def tick(self, elapsed_seconds: float, positions: Mapping[int, int]) -> None:
        """Count the time since the last look, and take note of what moved."""
        self.clock_seconds += min(elapsed_seconds, LONGEST_STEP_SECONDS)
        for partition, offset in positions.items():
            if offset != self._known_offset[partition]:
                self._known_offset[partition] = offset
                self._ask_at[partition] = self.clock_seconds + self._ask_every
                self._behind_since.pop(partition, None)

    def to_ask(self) -> int | None:
        """The partition whose end should be asked for now: the one that has been silent longest, if any."""
        due = [partition for partition, at in self._ask_at.items() if at <= self.clock_seconds]
        return min(due, key=self._ask_at.__getitem__, default=None)

    def answer(self, partition: int, end: int | None) -> None:
        """Take the broker's answer; None: it gave none, which is not the partition's fault."""
        self._ask_at[partition] = self.clock_seconds + self._ask_every
        if end is not None and end > self._known_offset[partition]:
            self._behind_since.setdefault(partition, self.clock_seconds)
        else:
            self._behind_since.pop(partition, None)

    def stalled(self) -> int | None:
        """A partition that stayed behind its end for ``stall_seconds``, if any."""
        for partition, since in self._behind_since.items():
            if self.clock_seconds - since >= self.stall_seconds:
                return partition
        return None
