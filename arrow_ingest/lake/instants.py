"""Text, dates and timestamps in, timestamps with zone out: the declared cast to timestamptz.

Text is ISO 8601 in its extended form, ``2026-11-04T02:00:00.123Z``; also with an offset (``+01:00``, ``+0100``,
``+01``), a space or small letters for T and Z, a comma for the point, minutes or hours only, or the date alone. What
has no zone is UTC. DuckDB's timestamptz holds microseconds: further digits are cut off, towards the past, since the
cast was asked for.
"""

from contextlib import suppress

import pyarrow as pa
import pyarrow.compute as pc

from arrow_ingest.lake.sqltypes import TIMESTAMPTZ, is_text

_FRACTION = r"[.,](\d{1,6})\d*"
_DATE_ONLY = r"^(\d{4}-\d\d-\d\d)$"
_WITHOUT_ZONE = r"^(\d{4}-\d\d-\d\d[T ]\d\d(?::\d\d(?::\d\d(?:\.\d+)?)?)?)$"


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
    text = column if pa.types.is_string(column.type) else column.cast(pa.string())
    for ordinary in (TIMESTAMPTZ, pa.timestamp("us")):  # all with a zone or all without: 20 µs per 1,000 rows
        with suppress(pa.ArrowInvalid):
            return text.cast(ordinary).view(TIMESTAMPTZ)
    return _in_ordinary_shape(text).cast(TIMESTAMPTZ)


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
