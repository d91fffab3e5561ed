"""One payload in, its rows as the table wants them, or a rejection, out: a message's way before it is written."""

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from arrow_ingest.config import PipelineConfig
from arrow_ingest.ipc.decode import decode
from arrow_ingest.lake.conform import Stamp, conform
from arrow_ingest.lake.event_window import late_rows
from arrow_ingest.lake.partition import PartitionSlice, split
from arrow_ingest.lake.schema import TablePlan
from arrow_ingest.values import Copies, Rejection


@dataclass(frozen=True, slots=True)
class MessageRows:
    """The rows of one message.

    Args:
        schema: as the message has it.
        plan: what the table becomes with them; the plan that was given, if nothing changes.
        slices: conformed to the plan, each in one table partition.
        copies: bytes copied on the way.
        nulled: cast values that became NULL.
        late: rows that come late, by table partition.
    """

    schema: pa.Schema
    rows: int
    plan: TablePlan
    slices: tuple[PartitionSlice, ...]
    copies: Copies
    nulled: int
    late: Mapping[str, int]


def rows_of(
    payload: pa.Buffer | None, config: PipelineConfig, plan: TablePlan, stamp: Stamp
) -> MessageRows | Rejection:
    """Decode, extend the plan, conform, split and look at the times; the first failure is the message's rejection."""
    extended = plan

    def accept(schema: pa.Schema) -> Rejection | None:
        nonlocal extended
        outcome = plan.extend(schema)
        if isinstance(outcome, Rejection):
            return outcome
        extended = outcome
        return None

    decoded = decode(payload, config.limits, accept)
    if isinstance(decoded, Rejection):
        return decoded
    batches: list[pa.RecordBatch] = []
    copies, nulled, first_row = decoded.copies, 0, 0
    for batch in decoded.batches:
        conformed = conform(batch, extended, stamp, first_row=first_row)
        if isinstance(conformed, Rejection):
            return conformed
        batches.append(conformed.batch)
        copies, nulled = copies + conformed.copies, nulled + conformed.nulled
        first_row += batch.num_rows
    parted = split(batches, config.partition_by, config.limits)
    if isinstance(parted, Rejection):
        return parted
    late = late_rows(parted.slices, config, stamp)
    if isinstance(late, Rejection):
        return late
    return MessageRows(decoded.schema, decoded.rows, extended, parted.slices, copies + parted.copies, nulled, late)
