"""Text, dates and timestamps in, timestamps with zone out: the declared cast to timestamptz.

Text is ISO 8601 in its extended form, ``2026-11-04T02:00:00.123Z``; also with an offset (``+01:00``, ``+0100``,
``+01``), a space or small letters for T and Z, a comma for the point, minutes or hours only, or the date alone. What
has no zone is UTC. DuckDB's timestamptz holds microseconds: further digits are cut off, towards the past, since the
cast was asked for.
"""

from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType

import pyarrow as pa
import pyarrow.compute as pc

from arrow_ingest.lake.sqltypes import TIMESTAMPTZ, is_text
from arrow_ingest.lake.views import cast_leaf

_FRACTION = r"[.,](\d{1,6})\d*"
_DATE_ONLY = r"^(\d{4}-\d\d-\d\d)$"
_WITHOUT_ZONE = r"^(\d{4}-\d\d-\d\d[T ]\d\d(?::\d\d(?::\d\d(?:\.\d+)?)?)?)$"


_YEAR_AND_DAY = (
    r"(\d{4}-((0[13578]|1[02])-(0[1-9]|[12]\d|3[01])|(0[469]|11)-(0[1-9]|[12]\d|30)|02-(0[1-9]|1\d|2[0-8]))"
    r"|(\d\d(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)-02-29)"
)
_TIME_AND_ZONE = r"[T ]([01]\d|2[0-3])(:[0-5]\d(:[0-5]\d(\.\d{1,6})?)?)?(Z|[+-]([01]\d|2[0-3])(:?[0-5]\d)?)"
_INSTANT = f"^{_YEAR_AND_DAY}{_TIME_AND_ZONE}$"
"""What Arrow casts to a timestamp with zone, so that a column can be sorted out without trying it row by row."""

_MIN_MICROS, _MAX_MICROS = -9_223_372_022_400_000_000, 2**63 - 1
"""What DuckDB's timestamptz holds; see `bounds`."""

_HELD: Mapping[pa.DataType, tuple[int, int]] = MappingProxyType(
    {
        kind: (-(-_MIN_MICROS // width), _MAX_MICROS // width)  # both rounded towards zero
        for kind, width in {
            pa.date32(): 86_400_000_000,
            pa.date64(): 1_000,
            pa.timestamp("s"): 1_000_000,
            pa.timestamp("ms"): 1_000,
            pa.timestamp("us"): 1,
        }.items()
    }
    | {pa.timestamp("ns"): (-(2**63) // 1_000 * 1_000 + 1_000, 2**63 - 1)}  # what whole microseconds below it hold
)


def to_instants(column: pa.Array) -> pa.Array:
    """Cast a column of text, dates or timestamps; where only the type changes, the result shares its buffers.

    Raises:
        pa.ArrowInvalid: a value is no time, or lies outside what 64 bits of microseconds hold.

    >>> str(to_instants(pa.array(["2026-11-04T02:00:00.1234567+01:00", "2026-11-04"]))[0])
    '2026-11-04 01:00:00.123456+00:00'
    """
    if pa.types.is_timestamp(column.type):
        return exact_instants(_floored(column) if column.type.unit == "ns" else column)
    if not is_text(column.type):
        return exact_instants(column.cast(pa.timestamp("us")))
    text = column if pa.types.is_string(column.type) else cast_leaf(column, pa.string())
    for ordinary in (TIMESTAMPTZ, pa.timestamp("us")):  # all with a zone or all without: 20 µs per 1,000 rows
        with suppress(pa.ArrowInvalid):
            return text.cast(ordinary).view(TIMESTAMPTZ)
    return _in_ordinary_shape(text).cast(TIMESTAMPTZ)


def instants_or_null(column: pa.Array) -> pa.Array:
    """As `to_instants`, but values that it would refuse, or that DuckDB cannot hold, become NULL.

    >>> instants_or_null(pa.array(["2026-02-29", "2026-11-04 02:00", "soon"])).null_count
    2
    """
    if is_text(column.type):
        text = _in_ordinary_shape(cast_leaf(column, pa.string()))
        return _where(pc.match_substring_regex(text, _INSTANT), text).cast(TIMESTAMPTZ)
    if pa.types.is_timestamp(column.type):
        column = column.view(pa.timestamp(column.type.unit))
    low, high = _HELD[column.type]
    numbers = column.view(pa.int32() if pa.types.is_date32(column.type) else pa.int64())
    is_held = pc.and_(pc.greater_equal(numbers, low), pc.less_equal(numbers, high))
    return to_instants(_where(is_held, column))


def _where(mask: pa.BooleanArray, column: pa.Array) -> pa.Array:
    """``column`` with NULL where the mask is not true."""
    return pc.if_else(mask, column, pa.scalar(None, column.type))


def exact_instants(column: pa.TimestampArray) -> pa.Array:
    """Timestamps of any unit and zone as timestamptz. The zone's name is only a label and need not exist.

    Raises:
        pa.ArrowInvalid: a value is no whole microsecond, or lies outside what 64 bits of them hold.
    """
    return column.view(pa.timestamp(column.type.unit)).cast(pa.timestamp("us")).view(TIMESTAMPTZ)


def _floored(column: pa.TimestampArray) -> pa.TimestampArray:
    return pc.floor_temporal(column.view(pa.timestamp("ns")), unit="microsecond")


def _in_ordinary_shape(text: pa.StringArray) -> pa.StringArray:
    """Bring every spelling to the one that Arrow reads; what is no time stays what it is, and Arrow refuses it."""
    upper = pc.utf8_upper(text)
    micros = pc.replace_substring_regex(upper, _FRACTION, r".\1")
    zoned = pc.replace_substring_regex(micros, _WITHOUT_ZONE, r"\1Z")
    return pc.replace_substring_regex(zoned, _DATE_ONLY, r"\1T00:00Z")
