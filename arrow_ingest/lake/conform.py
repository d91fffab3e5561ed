"""One record batch of a message in, the same rows with exactly the table's columns out, or a rejection.

Columns that already have the table's type keep the received buffers; what is written anew is counted by its cause.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

from arrow_ingest.lake.bounds import bounded, is_bounded
from arrow_ingest.lake.instants import instants_or_null, to_instants
from arrow_ingest.lake.retype import retyped
from arrow_ingest.lake.schema import METADATA_TYPES, TablePlan
from arrow_ingest.lake.sqltypes import TIMESTAMPTZ, fold, sql_text
from arrow_ingest.values import Copies, CopyCause, Reason, Rejection

_FIRST_MS, _END_MS = -62_135_596_800_000, 253_402_300_800_000
"""Milliseconds of the years 1 to 9999: a producer may write any 64 bits as a message's timestamp."""

_SHOWN_CHARACTERS = 80
"""How much of a refused value a rejection shows …"""

_MAX_SHOWN = 200
"""… and of its nested values together."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """Where a message's rows come from: the values of the metadata columns.

    Args:
        timestamp_ms: Kafka's timestamp of the message.
        inserted_at: wall clock of the micro-batch, with zone.
        key, headers: asked only for a table that has their column.
    """

    generation: int
    partition: int
    offset: int
    timestamp_ms: int | None
    inserted_at: datetime
    key: Callable[[], bytes | None] = lambda: None
    headers: Callable[[], tuple[tuple[str, bytes | None], ...]] = tuple

    def column(self, name: str, rows: int, first_row: int) -> pa.Array:
        """The metadata column of this name; ``_kafka_row`` counts from ``first_row``, all others are constant."""
        if name == "_kafka_row":
            return pa.arange(first_row, first_row + rows).cast(METADATA_TYPES[name])
        return pa.repeat(self._value(name), rows)

    def repeated_bytes(self, name: str, rows: int) -> int:
        """What a column costs whose one value a producer chose; 0 for those of a fixed width."""
        return rows * int(pa.repeat(self._value(name), 1).nbytes) if name in ("_kafka_key", "_kafka_headers") else 0

    def _value(self, name: str) -> pa.Scalar:
        if name == "_kafka_timestamp":
            return instant_of_message(self.timestamp_ms)
        if name == "_kafka_key":
            value: object = self.key()
        elif name == "_kafka_headers":
            value = [{"key": key, "value": value} for key, value in self.headers()]
        else:
            value = getattr(self, name.removeprefix("_kafka_").removeprefix("_"))
        return pa.scalar(value, METADATA_TYPES[name])


@dataclass(frozen=True, slots=True)
class Conformed:
    """A batch of the plan's target schema.

    Args:
        copies: bytes written beside the received buffers, by cause; metadata columns are new bytes, not copies.
        nulled: values of declared casts that became NULL.
    """

    batch: pa.RecordBatch
    copies: Copies
    nulled: int = 0


@dataclass(frozen=True, slots=True)
class _Route:
    """How messages of one schema fill one column of the target.

    Args:
        metadata: the folded name, if it is a metadata column.
        source: the message's column; None: NULL in every row.
        change: what gives it the column's type; None: it has it, and no value of it can be refused.
        cause: why bytes are written anew, if they are.
    """

    field: pa.Field
    metadata: str | None = None
    source: int | None = None
    change: Callable[[pa.Array], pa.Array] | None = None
    cause: CopyCause = CopyCause.WIDENED


def conform(batch: pa.RecordBatch, plan: TablePlan, stamp: Stamp, *, first_row: int) -> Conformed | Rejection:
    """Bring one record batch to ``plan.target``; the plan has been extended by the batch's schema.

    Args:
        first_row: rows of the message in the batches before this one.
    """
    columns: list[pa.Array] = []
    copies: dict[CopyCause, int] = {}
    nulled, rows, schema = 0, batch.num_rows, batch.schema
    for route in plan.routed(schema, lambda: _routes(plan, schema)):
        if route.metadata is not None:
            if stamp.repeated_bytes(route.metadata, rows) > plan.max_repeated_bytes:
                return _too_large(route.metadata, rows)
            columns.append(stamp.column(route.metadata, rows, first_row))
        elif route.source is None:
            columns.append(pa.nulls(rows, route.field.type))
        elif route.change is None:
            columns.append(batch.column(route.source))
        else:
            received = batch.column(route.source)
            fitting = _attempt(route.change, received, route.field, first_row)
            if isinstance(fitting, Rejection):
                return fitting
            columns.append(fitting)
            if route.change is _cast_or_null:
                nulled += fitting.null_count - _decoded(received).null_count
            if fitting is not received:
                copies[route.cause] = copies.get(route.cause, 0) + new_bytes(fitting, received)
    return Conformed(pa.RecordBatch.from_arrays(columns, schema=plan.target), Copies(copies), nulled)


def instant_of_message(timestamp_ms: int | None) -> pa.Scalar:
    """Kafka's message timestamp as timestamptz; NULL where there is none or it is no time of the years 1 to 9999.

    >>> instant_of_message(2**62).is_valid, instant_of_message(0).value
    (False, 0)
    """
    if timestamp_ms is None or not _FIRST_MS <= timestamp_ms < _END_MS:
        return pa.scalar(None, TIMESTAMPTZ)
    return pa.scalar(timestamp_ms * 1_000, TIMESTAMPTZ)


def new_bytes(written: pa.Array, received: pa.Array) -> int:
    """Bytes of ``written``'s buffers that are not ``received``'s.

    >>> texts = pa.array(["a", "b"], pa.large_string())
    >>> new_bytes(texts.cast(pa.string()), texts)  # three offsets of four bytes; the text itself is shared
    12
    """
    shared = {buffer.address for buffer in received.buffers() if buffer is not None}
    return sum(buffer.size for buffer in written.buffers() if buffer is not None and buffer.address not in shared)


def _routes(plan: TablePlan, incoming: pa.Schema) -> tuple[_Route, ...]:
    """Decided once per schema, since asking types and names costs more than handing ordinary columns on."""
    return tuple(
        _route(plan, field, None if source is None else incoming.field(source).type, source)
        for field, source in zip(plan.target, plan.sources(incoming), strict=True)
    )


def _route(plan: TablePlan, field: pa.Field, received: pa.DataType | None, source: int | None) -> _Route:
    if (name := fold(field.name)) in METADATA_TYPES:
        return _Route(field, metadata=name)
    if received is None:
        return _Route(field)
    is_cast = plan.is_declared_cast(field.name) and not pa.types.is_null(received)
    if is_cast and plan.nulls_failed_casts:
        return _Route(field, None, source, _cast_or_null, CopyCause.CAST)
    if received == field.type:
        return _Route(field, None, source, bounded if is_bounded(received) else None)
    if is_cast:
        return _Route(field, None, source, _cast_declared, CopyCause.CAST)
    cause = CopyCause.DICTIONARY if pa.types.is_dictionary(received) else CopyCause.WIDENED
    return _Route(field, None, source, lambda column: bounded(retyped(column, field.type)), cause)


def _cast_declared(column: pa.Array) -> pa.Array:
    return bounded(to_instants(_decoded(column)))


def _cast_or_null(column: pa.Array) -> pa.Array:
    """As `_cast_declared`; values that it refuses become NULL. The column itself where nothing is to be done."""
    try:
        return bounded(column) if column.type == TIMESTAMPTZ else _cast_declared(column)
    except pa.ArrowInvalid:
        return bounded(instants_or_null(_decoded(column)))


def _decoded(column: pa.Array) -> pa.Array:
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _too_large(name: str, rows: int) -> Rejection:
    what = name.removeprefix("_kafka_")
    return Rejection(Reason.LOGICAL_SIZE, f"its {what}, in each of {rows} rows, is over limits.max_logical_bytes")


def _attempt(
    change: Callable[[pa.Array], pa.Array], column: pa.Array, field: pa.Field, first_row: int
) -> pa.Array | Rejection:
    try:
        return change(column)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        row = _first_refused(change, column)
        shown = column[row : row + 1].to_string(skip_new_lines=True, element_size_limit=_SHOWN_CHARACTERS)
        where = f"column {field.name}, row {first_row + row}"
        return Rejection(Reason.CAST, f"{where}: {shown[:_MAX_SHOWN]} does not fit {sql_text(field.type)}")


def _first_refused(change: Callable[[pa.Array], pa.Array], column: pa.Array) -> int:
    """The row that ``change`` refuses first, by halving: a refused column of 1,000 rows costs ten more attempts."""
    start, stop = 0, len(column)
    while stop - start > 1:
        middle = (start + stop) // 2
        try:
            change(column[start:middle])
            start = middle
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            stop = middle
    return start
