"""What a model's partition was computed from, and what changed since, to why it is due. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Why(StrEnum):
    """Why a table partition of a model is computed, or is not."""

    FORCED = "forced"
    NEW = "new"
    CODE = "code"
    TOUCHED = "touched"
    FOREIGN = "foreign"
    UNKNOWN = "unknown"
    CURRENT = "current"

    @property
    def says(self) -> str:
        """In words."""
        return _SAYS[self]


_SAYS = {
    Why.FORCED: "asked for",
    Why.NEW: "never computed before",
    Why.CODE: "the model was another one",
    Why.TOUCHED: "commits of the pipeline touched what it is made of",
    Why.FOREIGN: "somebody else changed the pipeline's table since",
    Why.UNKNOWN: "snapshots since have expired, so nobody can say whether somebody else changed the pipeline's table",
    Why.CURRENT: "nothing that it is made of has changed",
}


@dataclass(frozen=True, slots=True)
class Computed:
    """What the lake knows of one table partition of a model.

    Args:
        source_snapshot: of the lake, as the query saw it.
        code_version: of the model then.
        commit_id: of the transaction that brought the rows.
    """

    value: str
    source_snapshot: int
    code_version: str
    rows: int
    files: int
    size_bytes: int
    commit_id: str
    run_id: str
    computed_at: datetime


def why(
    computed: Computed | None,
    *,
    code_version: str,
    touched_at: int,
    foreign: Iterable[int],
    forgotten: int,
    is_forced: bool = False,
) -> Why:
    """Why a table partition is due; `Why.CURRENT`: it is not.

    Args:
        computed: None: it never was.
        touched_at: the newest snapshot in which the pipeline touched what it is computed from; 0: none did.
        foreign: snapshots in which others changed the pipeline's table, of those that are still known.
        forgotten: the newest snapshot that has expired.
    """
    if is_forced:
        return Why.FORCED
    if computed is None:
        return Why.NEW
    if computed.code_version != code_version:
        return Why.CODE
    if touched_at > computed.source_snapshot:
        return Why.TOUCHED
    if any(snapshot > computed.source_snapshot for snapshot in foreign):
        return Why.FOREIGN
    if forgotten > computed.source_snapshot:
        return Why.UNKNOWN
    return Why.CURRENT
