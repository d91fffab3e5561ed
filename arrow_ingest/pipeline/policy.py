"""When to commit, when to end, when to give up: pure decisions over numbers that the drain measured."""

from dataclasses import dataclass

from arrow_ingest.config import Flush, Run
from arrow_ingest.message_policy import DeadLetters
from arrow_ingest.values import Tally


def is_flush_due(flush: Flush, *, received_bytes: int, age_seconds: float) -> bool:
    """Whether the open micro-batch should be committed now.

    >>> is_flush_due(Flush(max_bytes=100, max_age_seconds=10), received_bytes=100, age_seconds=0.1)
    True
    >>> is_flush_due(Flush(max_bytes=100, max_age_seconds=10), received_bytes=1, age_seconds=9.9)
    False
    """
    return received_bytes >= flush.max_bytes or age_seconds >= flush.max_age_seconds


def is_over_budget(budget: DeadLetters, tally: Tally) -> bool:
    """Whether a run has made more dead letters than it may: more than ``max_per_run`` *and* more than ``max_share``.

    >>> is_over_budget(DeadLetters(max_share=0.01, max_per_run=1), Tally(messages=100, dead=1))
    False
    >>> is_over_budget(DeadLetters(max_share=0.01, max_per_run=1), Tally(messages=100, dead=2))
    True
    >>> is_over_budget(DeadLetters(max_share=0.01, max_per_run=1), Tally(messages=1000, dead=2))
    False
    """
    return tally.dead > budget.max_per_run and tally.dead > budget.max_share * tally.messages


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run has come.

    Args:
        elapsed_seconds: since the run began to drain.
        idle_seconds: since a message last arrived.
        sealed: micro-batches handed over to be committed.
        is_caught_up: every position has reached the end that the broker showed at the start.
    """

    elapsed_seconds: float
    idle_seconds: float
    sealed: int
    is_caught_up: bool


def is_over(run: Run, progress: Progress) -> bool:
    """Whether the run should commit what it has and end.

    >>> is_over(Run(until="caught_up"), Progress(1.0, 0.0, sealed=0, is_caught_up=True))
    True
    >>> is_over(Run(until="deadline", linger_seconds=20), Progress(60.0, 19.0, sealed=3, is_caught_up=True))
    False
    >>> is_over(Run(until="deadline", linger_seconds=0), Progress(0.0, 0.0, sealed=0, is_caught_up=False))
    False
    >>> is_over(Run(until="micro_batch"), Progress(2.0, 0.0, sealed=1, is_caught_up=False))
    True
    """
    if progress.elapsed_seconds >= run.max_run_seconds:
        return True
    if run.until == "micro_batch":
        return progress.sealed > 0 or progress.is_caught_up
    if run.until == "caught_up":
        return progress.is_caught_up
    # Silence before the end is no idleness: a partition is stuck, and the consumer's watchdog will say so.
    return progress.is_caught_up and progress.idle_seconds >= run.linger_seconds
