"""What an alert sensor remembers between two ticks: open incidents, what it has read, messages not delivered yet."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from arrow_ingest.alerts.delivery import Target
from arrow_ingest.alerts.incidents import Kind, Level, Subject, Trouble
from arrow_ingest.alerts.messages import Message, Tone

MAX_WAITING = 100
"""Messages kept for a target that takes none; over it the oldest go, since a cursor has to stay small."""

Waiting = Mapping[str, tuple[Message, ...]]
"""Messages by the target's id, in the order in which they are to arrive."""


@dataclass(frozen=True, slots=True)
class Memory:
    """The sensor's cursor.

    Args:
        read_through: Unix seconds up to which the history was read; None: never.
        read: what was read already of the time that is looked back on: key of a history row to when it was written.
        known: the incidents that are open, and told.
    """

    read_through: float | None = None
    read: Mapping[str, float] = field(default_factory=dict)
    known: Mapping[Subject, Trouble] = field(default_factory=dict)
    waiting: Waiting = field(default_factory=dict)

    @classmethod
    def parse(cls, cursor: str | None) -> "Memory":
        """What a cursor holds; nothing when it is empty or was written by other code."""
        try:
            raw = json.loads(cursor or "")
            return cls(
                read_through=float(raw["read_through"]),
                read={str(key): float(at) for key, at in raw["read"].items()},
                known={
                    Subject(Kind(kind), name, partition): Trouble(Level(level), says, run_id)
                    for (kind, name, partition), (level, says, run_id) in raw["known"]
                },
                waiting={
                    target: tuple(Message(title, body, Tone(tone)) for title, body, tone in queue)
                    for target, queue in raw["waiting"].items()
                },
            )
        except (ValueError, TypeError, LookupError, AttributeError):
            return cls()

    def text(self) -> str:
        """As a cursor.

        >>> memory = Memory(1.5, {"lag/7": 1.0}, {Subject(Kind.LANE, "0"): Trouble(Level.ERROR, "no", "run-1")})
        >>> Memory.parse(memory.text()) == memory
        True
        """
        return json.dumps(
            {
                "read_through": self.read_through,
                "read": dict(self.read),
                "known": [(subject, (on.level, on.says, on.run_id)) for subject, on in self.known.items()],
                "waiting": {
                    target: [(message.title, message.body, message.tone) for message in queue]
                    for target, queue in self.waiting.items()
                },
            }
        )

    def with_waiting(self, messages: Iterable[Message], targets: Iterable[Target]) -> "Memory":
        """Queue messages for every target; what waited for targets that are no more is forgotten."""
        new = tuple(messages)
        queues = {target.id: (*self.waiting.get(target.id, ()), *new)[-MAX_WAITING:] for target in targets}
        return replace(self, waiting=queues)


def deliver(
    waiting: Waiting,
    targets: Iterable[Target],
    send: Callable[[Target, Message], str | None],
    has_time: Callable[[], bool] = lambda: True,
) -> tuple[dict[str, tuple[Message, ...]], dict[Target, str]]:
    """Send what waits, in order, each target by itself; what still waits, and why.

    A target that does not take a message gets the next ones behind it later, so that "recovered" never comes first.

    Args:
        has_time: asked before each message; without time the rest waits too.
    """
    left: dict[str, tuple[Message, ...]] = {}
    failures: dict[Target, str] = {}
    for target in targets:
        queue = list(waiting.get(target.id, ()))
        while queue and has_time():
            if (failure := send(target, queue[0])) is not None:
                failures[target] = failure
                break
            queue.pop(0)
        if queue:
            left[target.id] = tuple(queue)
    return left, failures
