"""A pipeline's ledger to totals that only grow, whatever maintenance puts aside or sums up; how long commits take.

Whoever looks every few seconds should not add up the same rows each time: a table of the ledger that was put aside
changes no more, so its totals are kept.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from arrow_ingest.lake import ledger_volumes
from arrow_ingest.lake.ledger import COMMITS
from arrow_ingest.lake.session import Lake
from arrow_ingest.lake.sql import LAKE, own
from arrow_ingest.lake.statistics import METADATA
from arrow_ingest.values import CommitKind

COMMIT_TIMES_AMONG = 256
"""The newest snapshots of the lake, of whatever pipeline, among which those of lanes are looked for."""


@dataclass(frozen=True, slots=True)
class LedgerTotal:
    """What commits of one kind did together.

    Args:
        bytes_received: payload bytes as Kafka delivered them.
        last_at: when the newest of them was made; None: there was none.
    """

    commits: int = 0
    messages: int = 0
    rows: int = 0
    dead: int = 0
    bytes_received: int = 0
    last_at: datetime | None = None

    def __add__(self, other: "LedgerTotal") -> "LedgerTotal":
        return LedgerTotal(
            commits=self.commits + other.commits,
            messages=self.messages + other.messages,
            rows=self.rows + other.rows,
            dead=self.dead + other.dead,
            bytes_received=self.bytes_received + other.bytes_received,
            last_at=max((at for at in (self.last_at, other.last_at) if at is not None), default=None),
        )


Totals = dict[CommitKind, LedgerTotal]


class LedgerTotals:
    """Adds up one pipeline's ledger, again and again; over whatever session it is handed."""

    def __init__(self, pipeline: str) -> None:
        self._pipeline = pipeline
        self._kept: dict[str, Totals] = {}

    def read(self, lake: Lake) -> Totals:
        """The totals by kind as the open transaction sees them.

        The table that was put aside last is added up again: a commit that was under way meanwhile may still land there.
        """
        volumes = ledger_volumes.volumes(lake)
        full = volumes[:-1]
        self._kept = {
            volume: self._kept.get(volume) or self._sums(lake, own(volume), commits="count(*)") for volume in full
        }
        parts = [*self._kept.values(), self._sums(lake, COMMITS, commits="count(*)")]
        parts += [self._sums(lake, own(volume), commits="count(*)") for volume in volumes[-1:]]
        if ledger_volumes.has_sums(lake):
            parts.append(self._sums(lake, ledger_volumes.ROLLED, commits="sum(commits)"))
        return added(parts)

    def _sums(self, lake: Lake, table: str, *, commits: str) -> Totals:
        rows = lake.execute(
            f'SELECT kind, CAST({commits} AS BIGINT), sum(messages)::BIGINT, sum("rows")::BIGINT, sum(dead)::BIGINT, '
            f"sum(bytes_received)::BIGINT, max(committed_at) FROM {table} WHERE pipeline = ? GROUP BY kind",
            [self._pipeline],
        )
        return {CommitKind(kind): LedgerTotal(*numbers) for kind, *numbers in rows}


def added(parts: Iterable[Totals]) -> Totals:
    """Totals of several tables, put together.

    >>> ingest = CommitKind.INGEST
    >>> added([{ingest: LedgerTotal(1, rows=5)}, {ingest: LedgerTotal(2, rows=1)}])[ingest].rows
    6
    """
    totals: Totals = {}
    for part in parts:
        for kind, total in part.items():
            totals[kind] = totals.get(kind, LedgerTotal()) + total
    return totals


def last_commit_seconds(lake: Lake, pipeline: str) -> dict[int, float]:
    """How long a commit of each lane took: the last one that was followed by another of its run.

    From what commits write beside their snapshots; lanes whose snapshots are not among the newest are left out.
    """
    rows = lake.execute(
        f"SELECT commit_extra_info FROM {METADATA}.ducklake_snapshot_changes "
        "WHERE snapshot_id > (SELECT id FROM ducklake_current_snapshot(?)) - ? AND author = 'arrow_ingest' "
        "ORDER BY snapshot_id",
        [LAKE, COMMIT_TIMES_AMONG],
    )
    found: dict[int, float] = {}
    for (text,) in rows:
        extra = json.loads(text or "{}")
        if extra.get("pipeline") == pipeline and extra.get("last_commit_seconds") is not None:
            found[extra["lane"]] = float(extra["last_commit_seconds"])
    return found
