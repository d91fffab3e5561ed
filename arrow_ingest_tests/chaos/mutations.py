"""A seed and a number in, a hostile payload out: honest ones with bits, numbers, pieces or frames damaged."""

import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cache

import pyarrow as pa

from arrow_ingest.producer.events import EventGenerator
from arrow_ingest_tests.arrow_examples import COMPRESSIONS, EXAMPLES, payload_of
from arrow_ingest_tests.arrow_payloads import CONTINUATION, END_OF_STREAM, frames_of, stream_of

_NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
_LENGTHS = (0, 1, -1, -2, 3, 7, 127, 128, 255, 2**15 - 1, 2**16, 2**31 - 1, -(2**31))
_LONG_LENGTHS = (*_LENGTHS, 2**31, 2**32, 2**40, 2**62, 2**63 - 1, -(2**63))
_MICROS = 10**6
_EXTREMES = (-1, 2**24, 2**53, 719_163, -719_163, 2_932_897, 86_400 * _MICROS, -62_135_596_801 * _MICROS)
"""Numbers at the edges of days, instants and floats."""


@cache
def corpus() -> tuple[bytes, ...]:
    """Honest payloads: of every supported type alone, of all together, of events; plain and compressed."""
    together = pa.table({f"c{i}": array for i, array in enumerate(EXAMPLES.values()) if len(array) == 3})
    events = EventGenerator(seed=1, now=_NOW, days=3).batch(0, 4)
    batches = pa.Table.from_batches([events, events.slice(0, 1), events.slice(0, 0)])
    return tuple(
        payload.to_pybytes()
        for compression in COMPRESSIONS
        for payload in (
            *(payload_of(array, compression) for array in EXAMPLES.values()),
            *(stream_of(whole, compression) for whole in (together, events, batches)),
        )
    )


def mutant(seed: int, number: int) -> bytes:
    """The payload of a number; the same one whenever it is asked for.

    >>> mutant(0, 7) == mutant(0, 7), mutant(0, 7) == mutant(1, 7)
    (True, False)
    """
    chance = random.Random(f"{seed}/{number}")
    payload = bytearray(corpus()[number % len(corpus())])
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        payload = chance.choice(_DAMAGES)(payload, chance)
    return bytes(payload)


def _bits(payload: bytearray, chance: random.Random) -> bytearray:
    for _ in range(chance.choice((1, 1, 2, 8))):
        payload[chance.randrange(len(payload))] ^= 1 << chance.randrange(8)
    return payload


def _bits_of_a_column(payload: bytearray, chance: random.Random) -> bytearray:
    """In the last batch's body, where the columns are: what is damaged there often stays readable."""
    start = payload.rfind(CONTINUATION, 0, -len(END_OF_STREAM))
    start += 8 + int.from_bytes(payload[start + 4 : start + 8], "little")
    if not 0 <= start < len(payload) - len(END_OF_STREAM):  # damaged already
        return payload
    for _ in range(chance.choice((1, 1, 3))):
        payload[chance.randrange(start, len(payload) - len(END_OF_STREAM))] ^= 1 << chance.randrange(8)
    return payload


def _number(payload: bytearray, chance: random.Random) -> bytearray:
    """A length, an offset or a value becomes another one."""
    width, chosen = chance.choice(((4, _LENGTHS), (8, _LONG_LENGTHS), (8, _EXTREMES)))
    places = max(1, (len(payload) - width) // width)
    place = width * chance.randrange(places)
    now = int.from_bytes(payload[place : place + width], "little", signed=True)
    number = chance.choice((*chosen, now + 1, now - 1, now + 8, -now, 2 * now, len(payload)))
    payload[place : place + width] = (number % 2 ** (8 * width)).to_bytes(width, "little")
    return payload


def _splice(payload: bytearray, chance: random.Random) -> bytearray:
    """Bytes of another honest payload, at their own place or at any."""
    other = chance.choice(corpus())
    size = chance.choice((1, 8, 16, 64, 256))
    start = chance.randrange(len(other))
    place = start if chance.random() < 0.5 else chance.randrange(len(payload))
    piece = other[start : start + size]
    payload[place : place + len(piece)] = piece
    return payload


def _cut(payload: bytearray, chance: random.Random) -> bytearray:
    """The end is missing, or a piece amid, or comes twice; often it looks whole to who reads the marker only."""
    start = chance.randrange(len(payload))
    stop = min(len(payload), start + chance.choice((1, 4, 8, 64)))
    kept = chance.choice(
        (payload[:start], payload[:start] + payload[stop:], payload[:stop] + payload[start:], payload[:start])
    )
    return kept + END_OF_STREAM if chance.random() < 0.5 else kept or bytearray(1)


def _frames(payload: bytearray, chance: random.Random) -> bytearray:
    """Frames of this payload and of another one, in any number and order."""
    try:
        frames = [*frames_of(pa.py_buffer(bytes(payload))), *frames_of(pa.py_buffer(chance.choice(corpus())))]
    except (pa.ArrowException, OSError):  # damaged already
        return payload
    chosen = [frames[0], *chance.choices(frames, k=chance.randrange(1, 5))]
    return bytearray(b"".join(chosen) + END_OF_STREAM)


def _other_schema(payload: bytearray, chance: random.Random) -> bytearray:
    """The columns of one type under the schema of another."""
    try:
        own = frames_of(pa.py_buffer(bytes(payload)))
    except (pa.ArrowException, OSError):
        return payload
    other = frames_of(pa.py_buffer(chance.choice(corpus())))
    return bytearray(b"".join([other[0], *own[1:]]) + END_OF_STREAM)


_DAMAGES: Sequence[Callable[[bytearray, random.Random], bytearray]] = (
    *(_bits, *[_bits_of_a_column] * 10, *[_number] * 4),
    *(_splice, _splice, _cut, _frames, _other_schema),
)
