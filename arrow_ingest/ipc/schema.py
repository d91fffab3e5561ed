"""A schema message's bytes in, the checked schema and the layout of its batches out; done once per schema.

The fields are counted on the flatbuffer itself before pyarrow reads it: many fields can share one list of children, so
that a few kilobytes unfold to any number of fields, and a registered extension type would run its own code.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import pyarrow as pa

from arrow_ingest.config import Limits
from arrow_ingest.ipc import names, types
from arrow_ingest.ipc.flatbuffer import INT16, INT64, UINT8, Malformed, Table
from arrow_ingest.ipc.framing import HEADER, PREFIX_BYTES
from arrow_ingest.ipc.layout import Layout, layout_of
from arrow_ingest.ipc.refusal import Refused
from arrow_ingest.ipc.texts import KEY, TextBudget
from arrow_ingest.values import Reason

CACHED_SCHEMAS = 64
CACHED_SCHEMA_BYTES = 65_536
"""Larger schema messages are planned each time, so that the cache stays small whatever arrives."""

_ENDIANNESS, _FIELDS, _SCHEMA_METADATA = range(3)
_NAME, _, _TYPE_KIND, _TYPE, _DICTIONARY, _CHILDREN, _FIELD_METADATA = range(7)
_DICTIONARY_ID = 0
_TIMESTAMP, _TIME_ZONE = 10, 1
_EXTENSION_NAME = b"ARROW:extension:name"


class SchemaPlan(NamedTuple):
    """A schema that may come in. While it is cached the same bytes give the same objects."""

    schema: pa.Schema
    layout: Layout


def plan_of(frame: bytes, limits: Limits) -> SchemaPlan:
    """Checks everything that the schema alone tells: counts, depth, types, names.

    Names are last in the order of defence, but they are known here, cost nothing once cached, and the schema policy
    must not be asked to make a column of a name that cannot be one.

    Args:
        frame: the schema message, its prefix included.

    Raises:
        Refused: METADATA, TOO_MANY_COLUMNS, TOO_DEEP, TYPE_NOT_ALLOWED or INVALID_NAME.
        ValueError, struct.error, OSError, pa.ArrowException: the message is no schema.
    """
    return _cached_plan(frame, limits) if len(frame) <= CACHED_SCHEMA_BYTES else _plan(frame, limits)


def _plan(frame: bytes, limits: Limits) -> SchemaPlan:
    header = Table.root(memoryview(frame)[PREFIX_BYTES:]).table(HEADER)
    if header is None:
        raise Malformed("a message without a header")
    census = _Census(limits, TextBudget(limits.max_schema_bytes))
    census.visit_schema(header)
    schema = pa.ipc.read_schema(pa.py_buffer(frame))
    for column in schema:
        if fault := types.refusal(column.type):
            raise Refused(Reason.TYPE_NOT_ALLOWED, f"column {column.name!r}: {fault}")
    if fault := names.refusal(schema, limits.max_name_length):
        raise Refused(Reason.INVALID_NAME, fault)
    return SchemaPlan(schema, layout_of(schema, census.dictionary_ids))


_cached_plan = lru_cache(maxsize=CACHED_SCHEMAS)(_plan)


@dataclass(slots=True)
class _Census:
    """Walks the fields as often as they are referred to, and stops at the first limit."""

    limits: Limits
    texts: TextBudget
    fields: int = 0
    dictionary_ids: list[int] = field(default_factory=list)

    def visit_schema(self, schema: Table) -> None:
        if schema.number(_ENDIANNESS, INT16):
            raise Refused(Reason.METADATA, "big-endian data would have to be copied: send little-endian")
        columns = schema.count(_FIELDS)
        if columns > self.limits.max_columns:
            raise Refused(Reason.TOO_MANY_COLUMNS, f"{columns} columns, more than {self.limits.max_columns}")
        if not columns:
            raise Refused(Reason.METADATA, "a schema without columns")
        self.texts.spend_pairs(schema, _SCHEMA_METADATA)
        for column in schema.tables(_FIELDS):
            self._visit(column, depth=1)

    def _visit(self, table: Table, depth: int) -> None:
        self.fields += 1
        if self.fields > self.limits.max_fields:
            raise Refused(Reason.TOO_MANY_COLUMNS, f"more than {self.limits.max_fields} fields at all depths")
        if depth > self.limits.max_depth:
            raise Refused(Reason.TOO_DEEP, f"types nested deeper than {self.limits.max_depth}")
        self._visit_texts(table)
        if dictionary := table.table(_DICTIONARY):
            self.dictionary_ids.append(dictionary.number(_DICTIONARY_ID, INT64))
        for child in table.tables(_CHILDREN):
            self._visit(child, depth + 1)

    def _visit_texts(self, table: Table) -> None:
        self.texts.spend(table.text_size(_NAME))
        name = _decoded(table.text(_NAME), Reason.INVALID_NAME)
        if table.number(_TYPE_KIND, UINT8) == _TIMESTAMP and (kind := table.table(_TYPE)):
            self.texts.spend(kind.text_size(_TIME_ZONE))
            _decoded(kind.text(_TIME_ZONE), Reason.TYPE_NOT_ALLOWED)
        for pair in self.texts.spend_pairs(table, _FIELD_METADATA):
            if pair.text(KEY) == _EXTENSION_NAME:
                raise Refused(Reason.TYPE_NOT_ALLOWED, f"extension type of field {name!r}: send its storage type")


def _decoded(text: bytes, reason: Reason) -> str:
    """The text, which pyarrow would decode only when somebody asks for it."""
    try:
        return text.decode()
    except UnicodeDecodeError:
        raise Refused(reason, f"{text[:64]!r} is not UTF-8") from None
