"""Flatbuffers put together by hand, to say what no honest writer says.

A flatbuffer is given as a graph of tables, vectors and texts. An object that is referred to many times is written once,
so that a few kilobytes unfold to any number of fields and texts in a reader that follows every reference.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from struct import pack

from arrow_ingest_tests.arrow_payloads import CONTINUATION, END_OF_STREAM

SCHEMA, RECORD_BATCH = 1, 3
INT_TYPE, UTF8_TYPE, STRUCT_TYPE = 2, 5, 13
V4, _V5 = 3, 4


@dataclass(frozen=True, eq=False)
class Text:
    """A string."""

    data: bytes

    def references(self) -> tuple["Node", ...]:
        return ()

    def written(self, _: int, __: Mapping["Node", int]) -> tuple[bytes, int]:
        return pack("<4xI", len(self.data)) + self.data + b"\0", 4


@dataclass(frozen=True, eq=False)
class Longs:
    """A vector of int64, or of structs of them."""

    values: tuple[int, ...] = ()
    per_element: int = 1

    def references(self) -> tuple["Node", ...]:
        return ()

    def written(self, _: int, __: Mapping["Node", int]) -> tuple[bytes, int]:
        return pack(f"<4xI{len(self.values)}q", len(self.values) // self.per_element, *self.values), 4


@dataclass(frozen=True, eq=False)
class Tables:
    """A vector of tables."""

    elements: tuple["Table", ...] = ()

    def references(self) -> tuple["Node", ...]:
        return self.elements

    def written(self, start: int, positions: Mapping["Node", int]) -> tuple[bytes, int]:
        first = start + 8
        offsets = (positions.get(element, 0) - first - 4 * i for i, element in enumerate(self.elements))
        return pack("<4xI", len(self.elements)) + b"".join(pack("<I", max(offset, 0)) for offset in offsets), 4


@dataclass(frozen=True, eq=False)
class Table:
    """A table: by field number a packed scalar, or what the field refers to. Every field takes eight bytes."""

    fields: Mapping[int, "bytes | Node"]

    def references(self) -> tuple["Node", ...]:
        return tuple(value for value in self.fields.values() if not isinstance(value, bytes))

    def written(self, start: int, positions: Mapping["Node", int]) -> tuple[bytes, int]:
        slots = max(self.fields, default=-1) + 1
        numbers = sorted(self.fields)
        places = {number: 8 + 8 * i for i, number in enumerate(numbers)}
        layout = pack(f"<{slots + 2}H", 4 + 2 * slots, 8 + 8 * len(numbers), *(places.get(i, 0) for i in range(slots)))
        layout += bytes(-len(layout) % 8)
        data = pack("<i4x", len(layout))
        for number in numbers:
            value = self.fields[number]
            here = start + len(layout) + places[number]
            data += value.ljust(8, b"\0") if isinstance(value, bytes) else _reference(here, positions.get(value, 0))
        return layout + data, len(layout)


Node = Text | Longs | Tables | Table
_NO_TYPE = Table({})


def _reference(here: int, there: int) -> bytes:
    return pack("<I4x", max(there - here, 0))


def flatbuffer(root: Table) -> bytes:
    """The bytes of a graph; references point forward, as the format wants it."""
    order = list(reversed(list(_children_first(root, set()))))
    starts: list[int] = []
    positions: dict[Node, int] = {}
    size = 8
    for node in order:
        data, target = node.written(size, {})
        starts.append(size)
        positions[node] = size + target
        size += len(data) + -len(data) % 8
    buffer = bytearray(size)
    buffer[:4] = pack("<I", positions[root])
    for node, start in zip(order, starts, strict=True):
        data, _ = node.written(start, positions)
        buffer[start : start + len(data)] = data
    return bytes(buffer)


def _children_first(node: Node, seen: set[Node]) -> Iterator[Node]:
    if node not in seen:
        seen.add(node)
        for child in node.references():
            yield from _children_first(child, seen)
        yield node


def frame(kind: int, header: Table, body: bytes = b"", *, version: int = _V5, metadata: Tables | None = None) -> bytes:
    """One frame of a stream."""
    fields: dict[int, bytes | Node] = {0: pack("<h", version), 1: pack("<B", kind), 2: header, 3: pack("<q", len(body))}
    message = flatbuffer(Table({**fields, 4: metadata} if metadata else fields))
    return CONTINUATION + pack("<i", len(message)) + message + body


def stream(*frames: bytes) -> bytes:
    """Frames and the end-of-stream marker."""
    return b"".join(frames) + END_OF_STREAM


def pairs(*texts: tuple[Text, Text]) -> Tables:
    """Key-value metadata."""
    return Tables(tuple(Table({0: key, 1: value}) for key, value in texts))


def field(
    name: bytes, kind: int, type_of: Table = _NO_TYPE, *, children: Node | None = None, metadata: Node | None = None
) -> Table:
    """A nullable Field."""
    fields: dict[int, bytes | Node] = {0: Text(name), 1: pack("<B", 1), 2: pack("<B", kind), 3: type_of}
    optional = {5: children, 6: metadata}
    return Table(fields | {number: node for number, node in optional.items() if node is not None})


def int64_field(name: bytes, metadata: Node | None = None) -> Table:
    """A nullable int64 column."""
    return field(name, INT_TYPE, Table({0: pack("<i", 64), 1: pack("<B", 1)}), metadata=metadata)


def schema_frame(*fields: Table, endianness: int = 0, metadata: Tables | None = None) -> bytes:
    """The frame of a schema of these columns."""
    schema: dict[int, bytes | Node] = {0: pack("<h", endianness), 1: Tables(fields)}
    return frame(SCHEMA, Table({**schema, 2: metadata} if metadata else schema))


def batch_frame(rows: int, nodes: tuple[int, ...], buffers: tuple[int, ...], body: bytes = b"") -> bytes:
    """The frame of a record batch: (length, nulls) of each node and (offset, size) of each buffer, flat."""
    header = Table({0: pack("<q", rows), 1: Longs(nodes, 2), 2: Longs(buffers, 2)})
    return frame(RECORD_BATCH, header, body)
