"""What an alert sensor remembers between two ticks: open incidents, what it has read, messages not delivered yet."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from arrow_ingest.alerts.delivery import Target
from arrow_ingest.alerts.incidents import Kind, Level, Subject, Trouble
from arrow_ingest.alerts.messages import Message, Tone, digest

MAX_WAITING = 100
"""Messages kept for a target that takes none; over it the oldest become one that lists them: a memory stays small."""

Waiting = Mapping[str, tuple[Message, ...]]
"""Messages by the target's id, in the order in which they are to arrive."""


@dataclass(frozen=True, slots=True)
class Limit:
    """At most ``messages`` in any ``seconds``, to each target."""

    messages: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Memory:
    """What is remembered.

    Args:
        read_through: Unix seconds up to which the history was read; None: never.
        read: what was read already of the time that is looked back on: key of a history row to when it was written.
        known: the incidents that are open, and told.
        sent: when messages were delivered lately, by the target's id.
    """

    read_through: float | None = None
    read: Mapping[str, float] = field(default_factory=dict)
    known: Mapping[Subject, Trouble] = field(default_factory=dict)
    waiting: Waiting = field(default_factory=dict)
    sent: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str | None) -> "Memory":
        """What a text holds; nothing when it is empty or was written by other code."""
        try:
            raw = json.loads(text or "")
            return cls(
                read_through=float(raw["read_through"]),
                read={str(key): float(at) for key, at in raw["read"].items()},
                known={
                    Subject(Kind(kind), name, partition): Trouble(Level(level), says, run_id)
                    for (kind, name, partition), (level, says, run_id) in raw["known"]
                },
                waiting={
                    target: tuple(_message(*fields) for fields in queue) for target, queue in raw["waiting"].items()
                },
                sent={target: tuple(map(float, times)) for target, times in raw.get("sent", {}).items()},
            )
        except (ValueError, TypeError, LookupError, AttributeError):
            return cls()

    def text(self) -> str:
        """As it is stored.

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
                    target: [(told.title, told.body, told.tone, told.level, told.count) for told in queue]
                    for target, queue in self.waiting.items()
                },
                "sent": {target: list(times) for target, times in self.sent.items()},
            }
        )

    def with_waiting(self, messages: Iterable[Message], targets: Iterable[Target]) -> "Memory":
        """Queue messages for every target that hears of such; what waited for targets that are no more is forgotten."""
        new = tuple(messages)
        queues = {target.id: _bounded((*self.waiting.get(target.id, ()), *_heard(target, new))) for target in targets}
        return replace(self, waiting=queues)

    def delivered(self, target: Target, left: Iterable[Message], now: float, limit: Limit) -> "Memory":
        """After one delivery: what is left to tell the target, and when it was told."""
        recent = (*(at for at in self.sent.get(target.id, ()) if now - at < limit.seconds), now)
        return replace(self, waiting={**self.waiting, target.id: tuple(left)}, sent={**self.sent, target.id: recent})


def deliver(
    memory: Memory,
    targets: Iterable[Target],
    send: Callable[[Target, Message], str | None],
    *,
    now: float,
    limit: Limit,
    has_time: Callable[[], bool] = lambda: True,
    keep: Callable[[Memory], None],
) -> tuple[Memory, dict[Target, str]]:
    """Send what waits, in order, each target by itself; what is remembered then, and which target did not take what.

    A target that does not take a message gets the next ones behind it later, so that "recovered" never comes first.

    Args:
        now: Unix seconds.
        has_time: asked before each message; without time the rest waits too.
        keep: called after each delivery, so that whoever dies does not deliver again.
    """
    failures: dict[Target, str] = {}
    for target in targets:
        while has_time():
            count, message = _next(memory, target, now, limit)
            if message is None:
                break
            if (failure := send(target, message)) is not None:
                failures[target] = failure
                break
            memory = memory.delivered(target, memory.waiting[target.id][count:], now, limit)
            keep(memory)
    return memory, failures


def _next(memory: Memory, target: Target, now: float, limit: Limit) -> tuple[int, Message | None]:
    """How many of the waiting messages go out now as which one; the last that may go lists all that wait."""
    queue = memory.waiting.get(target.id, ())
    room = limit.messages - sum(now - at < limit.seconds for at in memory.sent.get(target.id, ()))
    if not queue or room <= 0:
        return 0, None
    if room == 1 and len(queue) > 1:
        return len(queue), digest(queue)
    return 1, queue[0]


def _heard(target: Target, messages: Iterable[Message]) -> tuple[Message, ...]:
    return tuple(message for message in messages if target.level is Level.WARN or message.level is Level.ERROR)


def _bounded(queue: tuple[Message, ...]) -> tuple[Message, ...]:
    if len(queue) <= MAX_WAITING:
        return queue
    first = len(queue) - MAX_WAITING // 2
    return (digest(queue[:first]), *queue[first:])


def _message(title: str, body: str, tone: str, level: str = Level.ERROR, count: int = 1) -> Message:
    """Of an earlier arrow_ingest it has three fields."""
    return Message(title, body, Tone(tone), Level(level), count)
