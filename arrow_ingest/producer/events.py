"""A seed and a batch's number in, a record batch of PostHog-shaped events out; the same batch every time.

Rows are put together from pools of strings by Arrow's own kernels, since a demo wants hundreds of thousands of them at
once. The clock is never read: the caller says what "now" is.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import repeat
from random import Random
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from arrow_ingest.producer.population import EVENTS, USERS, Population, session_properties, skewed, uuid_text

EVENT_SCHEMA: Final = pa.schema(
    [
        ("uuid", pa.string()),
        ("event", pa.string()),
        ("distinct_id", pa.string()),
        ("timestamp", pa.string()),
        ("team_id", pa.int64()),
        ("project_id", pa.int64()),
        ("properties", pa.string()),
        ("elements_chain", pa.string()),
    ]
)
"""The columns of a generated batch; only ``elements_chain`` holds nulls, in every row but those of ``$autocapture``."""

DAY_MS: Final = 86_400_000


class EventGenerator:
    """Batches of events, each made from the seed and its own number alone, so that any of them can be made again.

    A batch holds sessions one after the other, as SDKs send them: a user's page views, clicks and page leaves in the
    order of time. With several days, batch ``index`` is of the day ``index % days`` days before ``now``'s, and some of
    its sessions come late, from a day before that. Days are UTC.

    Args:
        seed: what everything is drawn from.
        now: a time with zone. No event is later, and its day is the newest.
        days: event days, ``now``'s included.
        late_share: probability of a session to come late, where there is an older day.

    Raises:
        ValueError: ``now`` has no zone, ``days`` is not positive, or ``late_share`` is not a probability.
    """

    def __init__(self, seed: int, *, now: datetime, days: int = 1, late_share: float = 0.05) -> None:
        if now.tzinfo is None:
            raise ValueError("now needs a zone")
        if days < 1 or not 0 <= late_share <= 1:
            raise ValueError(f"cannot spread events over {days} days, {late_share} of the sessions late")
        self._seed = seed
        self._now_ms = _milliseconds(now)
        self._days = days
        self._late_share = late_share
        self._population = Population.of(seed)
        self._events = pa.array(EVENTS)

    def batch(self, index: int, rows: int = 1_000) -> pa.RecordBatch:
        """Batch ``index``, of exactly ``rows`` rows in the columns of :data:`EVENT_SCHEMA`; about 1.1 KB each."""
        rng = Random(f"batch {self._seed} {index}")  # noqa: S311 - reproducible on purpose
        drawn = self._draw(rng, index, rows)
        people = self._population
        users, events = pa.array(drawn.users, pa.int32()), pa.array(drawn.events, pa.int8())
        digits = rng.randbytes((16 + 8) * rows).hex()  # 16 bytes of each row's uuid, then 8 of each one's insert id
        uuids = [uuid_text(digits[at : at + 32]) for at in range(0, 32 * rows, 32)]
        insert_ids = [digits[at : at + 16] for at in range(32 * rows, 48 * rows, 16)]
        properties = pc.binary_join_element_wise(
            people.user_properties.take(users),
            pa.array(drawn.session_properties, pa.string()).take(pa.array(drawn.sessions, pa.int32())),
            people.page_properties.take(pa.array(drawn.pages, pa.int16())),
            people.event_properties.take(events),
            pa.array(insert_ids, pa.string()),
            '"}',
            "",
        )
        teams = people.team_ids.take(users)
        columns = [
            pa.array(uuids, pa.string()),
            self._events.take(events),
            people.distinct_ids.take(users),
            iso_8601(pa.array(drawn.times_ms, pa.int64())),
            teams,
            teams,  # PostHog's project_id is the team's number, save where a project has several environments
            properties,
            people.elements_chains.take(pa.array(drawn.elements, pa.int16())),
        ]
        return pa.RecordBatch.from_arrays(columns, schema=EVENT_SCHEMA)

    def _draw(self, rng: Random, index: int, rows: int) -> "_Drawn":
        drawn = _Drawn()
        while len(drawn.events) < rows:
            script = rng.choice(self._population.scripts)
            count = min(len(script.events), rows - len(drawn.events))
            start_ms, end_ms = self._day_of_session(rng, index)
            begin_ms = start_ms + int(rng.random() * max(0, end_ms - start_ms - script.offsets_ms[-1]))
            drawn.users.extend(repeat(skewed(rng, USERS), count))
            drawn.sessions.extend(repeat(len(drawn.session_properties), count))
            drawn.session_properties.append(session_properties(rng))
            drawn.events.extend(script.events[:count])
            drawn.pages.extend(script.pages[:count])
            drawn.elements.extend(script.elements[:count])
            drawn.times_ms.extend([min(begin_ms + offset, end_ms) for offset in script.offsets_ms[:count]])
        return drawn

    def _day_of_session(self, rng: Random, index: int) -> tuple[int, int]:
        """First and last millisecond of the day that a session of batch ``index`` falls on."""
        days_ago = index % self._days
        if rng.random() < self._late_share and days_ago + 1 < self._days:
            days_ago = rng.randrange(days_ago + 1, self._days)
        start_ms = self._now_ms - self._now_ms % DAY_MS - days_ago * DAY_MS
        return start_ms, min(start_ms + DAY_MS - 1, self._now_ms)


@dataclass(slots=True)
class _Drawn:
    """The numbers that one batch is put together from; lists of one entry per row, save ``session_properties``."""

    users: list[int] = field(default_factory=list)
    sessions: list[int] = field(default_factory=list)
    session_properties: list[str] = field(default_factory=list)
    events: list[int] = field(default_factory=list)
    pages: list[int] = field(default_factory=list)
    elements: list[int | None] = field(default_factory=list)
    times_ms: list[int] = field(default_factory=list)


def iso_8601(times_ms: pa.Array) -> pa.Array:
    """Milliseconds since 1970 as ISO 8601 text in UTC; Arrow's ``strftime`` takes eight times as long.

    >>> iso_8601(pa.array([1_793_764_800_123])).to_pylist()
    ['2026-11-04T04:00:00.123Z']
    """
    spaced = times_ms.cast(pa.timestamp("ms")).cast(pa.string())
    return pc.binary_join_element_wise(pc.binary_replace_slice(spaced, 10, 11, "T"), "Z", "")


def _milliseconds(time: datetime) -> int:
    return (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
