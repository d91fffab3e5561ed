"""Row groups that could not be written to the one message that is to blame."""

import logging
from collections.abc import Iterable

from arrow_ingest.config import Parquet
from arrow_ingest.errors import StageFailed
from arrow_ingest.lake.partition import PartitionSlice
from arrow_ingest.lake.row_groups import try_to_write
from arrow_ingest.values import Rejection

log = logging.getLogger(__name__)

Suspects = frozenset[tuple[int, int]]
"""``(partition, offset)`` of messages that took part in a failed write; each is tried alone."""


def widened(suspects: Suspects, failure: StageFailed) -> Suspects:
    """Narrow a failed write down: the messages that took part are read again and tried one by one.

    Raises:
        StageFailed: ``failure``, when it has no culprits that were not tried alone already (a full disk, say).
    """
    more = suspects | set(failure.culprits)
    if more == suspects:
        raise failure
    log.warning("%s; looking for the message that causes it among %d", failure, len(failure.culprits))
    return more


def try_alone(slices: Iterable[PartitionSlice], parquet: Parquet) -> Rejection | None:
    """Encode one message's rows into nowhere: why they cannot be staged, or None when they can."""
    outcomes = (try_to_write(piece.rows, parquet) for piece in slices)
    return next((outcome for outcome in outcomes if outcome is not None), None)
