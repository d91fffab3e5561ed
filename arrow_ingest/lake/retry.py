"""How long to wait after a lost race, before the same transaction is tried again."""

_PAUSE_SECONDS = (0.05, 2.0)
"""The first pause between attempts at its longest, and the longest of all."""


def pause_seconds(attempt: int, jitter: float) -> float:
    """How long to wait after a failed attempt: doubling, bounded, and anything from nothing to that.

    >>> [pause_seconds(attempt, jitter=1.0) for attempt in (1, 2, 3, 9)]
    [0.05, 0.1, 0.2, 2.0]
    """
    first, longest = _PAUSE_SECONDS
    return jitter * min(longest, first * 2.0 ** (attempt - 1))
