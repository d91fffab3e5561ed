"""The ledger since the last publication to what Dagster is told, in which order. Pure.

A run may die between any two events, so each event says how far publishing has come: `published_through`. Partitions
come in ascending order of their newest snapshot; an event's number is one less than the next event's snapshot, because
two partitions may share it.
"""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from arrow_ingest.lake.ledger import LedgerEntry, PartitionTotal


@dataclass(frozen=True, slots=True)
class Publication:
    """One materialisation to emit.

    Args:
        value: the table partition; None: a table without partitions.
        version: the newest snapshot that added rows to it, 0 if none did.
        commits: those of the window that touched it, ascending.
        published_through: what may be taken as published once this event is stored.
    """

    value: str | None
    version: int
    commits: tuple[LedgerEntry, ...]
    published_through: int


def publications(
    commits: Iterable[LedgerEntry],
    totals: Mapping[str | None, PartitionTotal],
    *,
    since: int,
    requested: Iterable[str] = (),
    declared: AbstractSet[str | None],
) -> tuple[Publication, ...]:
    """Every table partition to publish: touched since ``since`` and known to Dagster, or asked for.

    Args:
        commits: the ledger after snapshot ``since``, ascending.
        totals: the ledger's totals of at least the partitions in question.
        requested: what the run was launched for; untouched ones are published too, or a backfill ends as failed.
    """
    window = tuple(commits)
    touched = {part.value for commit in window for part in commit.touched} & declared
    wanted = sorted(
        touched | set(requested), key=lambda value: (totals[value].last_snapshot if value in totals else 0, value or "")
    )
    versions = [totals[value].last_snapshot if value in totals else 0 for value in wanted]
    end = max((commit.snapshot_id for commit in window), default=since)
    through = [max(since, version - 1) for version in versions[1:]] + [max(since, end)]
    return tuple(
        Publication(value, version, touching(window, value), published_through)
        for value, version, published_through in zip(wanted, versions, through, strict=False)
    )


def touching(commits: Iterable[LedgerEntry], value: str | None) -> tuple[LedgerEntry, ...]:
    """The commits that added rows to a table partition."""
    return tuple(commit for commit in commits if any(part.value == value for part in commit.touched))
