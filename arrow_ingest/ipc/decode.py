"""A message's payload in, validated record batches or a rejection out; never an exception, whatever the bytes.

The order of defence: size, framing, schema (counts, types, names), what the batches claim, the schema policy, reading,
what the values decode to, full validation. Nothing is allocated for the payload before its claims have been summed. No
switch turns full validation off: without it, DuckDB crashed on one in three mutated payloads that pyarrow had read.
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, ParamSpec, TypeVar

import pyarrow as pa

from arrow_ingest.config import Limits
from arrow_ingest.ipc import framing
from arrow_ingest.ipc.body import Claim, check_size, claim_of
from arrow_ingest.ipc.framing import FrameKind
from arrow_ingest.ipc.refusal import Refused
from arrow_ingest.ipc.schema import SchemaPlan, plan_of
from arrow_ingest.ipc.size import expanded_bytes
from arrow_ingest.values import Copies, CopyCause, Reason, Rejection

_P = ParamSpec("_P")
_T = TypeVar("_T")

MAX_DETAIL_CHARACTERS = 500
"""Details are stored with the dead letter, and may quote the payload."""

_FAULTS = (pa.ArrowException, ValueError, OSError, struct.error)
"""What bad bytes raise: ArrowInvalid and Malformed are ValueErrors, Arrow's IOError is an OSError."""

_READ_OPTIONS = pa.ipc.IpcReadOptions(
    ensure_native_endian=False, ensure_alignment=pa.ipc.Alignment.Any, use_threads=False
)
"""No swapping and no realigning: Arrow and the Parquet writer read columns at any address correctly. No threads: for a
message of 1 MB they take twice the CPU to decompress in the same time, and other cores have files to encode."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """The rows of one message.

    Args:
        batches: fully validated; uncompressed columns are views of the payload and keep it alive.
        schema: the same object for messages of the same schema, while it is cached; custom metadata as it came.
        rows: of all batches; 0 for a message that has a schema only.
        copies: what was decompressed. Nothing else is copied here.
    """

    batches: tuple[pa.RecordBatch, ...]
    schema: pa.Schema
    rows: int
    copies: Copies


def accept_any(_: pa.Schema) -> Rejection | None:
    """The schema policy of whoever has none."""
    return None


def decode(
    payload: pa.Buffer | None, limits: Limits, accept: Callable[[pa.Schema], Rejection | None] = accept_any
) -> Decoded | Rejection:
    """Reads one Arrow IPC stream that nobody vouches for.

    Args:
        payload: the message's value, at any alignment; None for a message without one.
        accept: the schema policy's turn, asked once the types and names are known to be fit and before anything is
            read; what it returns is the message's rejection.

    Raises:
        pa.ArrowMemoryError: this machine has no room for what the limits allow. The payload is not to blame.
    """
    if payload is None:
        return Rejection(Reason.NO_VALUE, "the message has no value")
    if payload.size > limits.max_message_bytes:
        return Rejection(Reason.TOO_LARGE, f"{payload.size} bytes, more than {limits.max_message_bytes}")
    inspected = _guarded(Reason.METADATA, _inspect, payload, limits)
    if isinstance(inspected, Rejection):
        return inspected
    rejection = accept(inspected.plan.schema)
    if rejection is not None:
        return rejection
    return _guarded(Reason.INVALID_DATA, _read, payload, inspected, limits)


class _Inspected(NamedTuple):
    plan: SchemaPlan
    batches: int
    claim: Claim


def _inspect(payload: pa.Buffer, limits: Limits) -> _Inspected:
    """Everything that can be known of the payload without reading its columns."""
    view = memoryview(payload)
    first, *frames = framing.split(view, limits)
    plan = plan_of(bytes(view[first.start : first.stop]), limits)
    batches = sum(frame.kind is FrameKind.RECORD_BATCH for frame in frames)
    return _Inspected(plan, batches, claim_of(view, frames, plan.layout, limits))


def _read(payload: pa.Buffer, inspected: _Inspected, limits: Limits) -> Decoded:
    plan, claim = inspected.plan, inspected.claim
    batches = tuple(pa.ipc.open_stream(payload, options=_READ_OPTIONS))
    if len(batches) != inspected.batches:  # what was inspected has to be what was read
        raise Refused(Reason.METADATA, f"{len(batches)} of {inspected.batches} record batches can be read")
    if plan.layout.expanding:
        check_size(claim.plus(Claim(expanded_bytes=_expanded_bytes(batches, plan))), limits)
    for batch in batches:
        batch.validate(full=True)
    copies = Copies({CopyCause.DECOMPRESSED: claim.decompressed_bytes} if claim.decompressed_bytes else {})
    return Decoded(batches, plan.schema, claim.rows, copies)


def _expanded_bytes(batches: Sequence[pa.RecordBatch], plan: SchemaPlan) -> int:
    return sum(expanded_bytes(batch.column(i)) for batch in batches for i in plan.layout.expanding)


def _guarded(fault: Reason, step: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T | Rejection:
    """Runs one step on untrusted bytes; what they are to blame for becomes the rejection, ``fault`` by default."""
    try:
        return step(*args, **kwargs)
    except Refused as refused:
        reason, detail = refused.rejection.reason, refused.rejection.detail
    except pa.ArrowMemoryError:
        raise
    except _FAULTS as error:
        reason, detail = fault, f"{type(error).__name__}: {error}"
    return Rejection(reason, detail[:MAX_DETAIL_CHARACTERS])
