"""Flatbuffer bytes in, numbers and positions out, never outside the buffer.

Only what Arrow's IPC metadata needs. Every read is checked against the end of the buffer by ``struct`` and against its
start here, because ``struct`` takes a negative position as one counted from the end. Offsets point forward only, so a
walk cannot run in a circle; that it ends soon is for the caller's limits. Format: https://flatbuffers.dev/internals/
"""

from collections.abc import Iterator
from struct import Struct, unpack_from

BOOL = Struct("<?")
INT8 = Struct("<b")
UINT8 = Struct("<B")
INT16 = Struct("<h")
INT64 = Struct("<q")
_UINT16 = Struct("<H")
_INT32 = Struct("<i")
_UINT32 = Struct("<I")


class Malformed(ValueError):
    """Bytes that are no flatbuffer, or that lack what Arrow's schema of it requires."""


class Table:
    """One table of a flatbuffer. Fields are numbered from 0 as they stand in the .fbs file; a union counts as two.

    Args:
        data: the whole flatbuffer; kept as long as the table lives.
        position: where the table starts, counted from the start of ``data``.

    Raises:
        Malformed, struct.error: here and in every method, when the bytes point outside ``data``.
    """

    __slots__ = ("_data", "_position", "_slots")

    def __init__(self, data: memoryview, position: int) -> None:
        vtable = position - _INT32.unpack_from(data, position)[0]
        if vtable < 0:
            raise Malformed("a table's layout lies before the start of the buffer")
        size = _UINT16.unpack_from(data, vtable)[0]
        if size < 4 or size % 2:
            raise Malformed(f"a table's layout cannot have {size} bytes")
        self._data = data
        self._position = position
        self._slots: tuple[int, ...] = unpack_from(f"<{size // 2 - 2}H", data, vtable + 4)

    @classmethod
    def root(cls, data: memoryview) -> "Table":
        """The table that the flatbuffer begins with."""
        return cls(data, _UINT32.unpack_from(data, 0)[0])

    def number(self, field: int, kind: Struct, default: int = 0) -> int:
        """A scalar field, or its default when it was left out."""
        slot = self._slots[field] if field < len(self._slots) else 0
        return int(kind.unpack_from(self._data, self._position + slot)[0]) if slot else default

    def has(self, field: int) -> bool:
        """Whether the field was written."""
        return field < len(self._slots) and self._slots[field] != 0

    def table(self, field: int) -> "Table | None":
        """A field that is a table, or the value of a union; None when it was left out."""
        position = self._target(field)
        return None if position is None else Table(self._data, position)

    def tables(self, field: int) -> Iterator["Table"]:
        """The elements of a vector of tables, read one by one as they are asked for."""
        start, count = self._vector(field, 4)
        for position in range(start, start + 4 * count, 4):
            yield Table(self._data, position + _UINT32.unpack_from(self._data, position)[0])

    def count(self, field: int) -> int:
        """The length of a vector of tables."""
        return self._vector(field, 4)[1]

    def int64s(self, field: int, per_element: int = 1) -> tuple[int, ...]:
        """A vector of int64, or of structs of ``per_element`` int64 each, flat."""
        start, count = self._vector(field, 8 * per_element)
        return unpack_from(f"<{count * per_element}q", self._data, start)

    def text(self, field: int) -> bytes:
        """A string field as it stands, not decoded; empty when it was left out."""
        start, count = self._vector(field, 1)
        return bytes(self._data[start : start + count])

    def text_size(self, field: int) -> int:
        """The bytes of a string field, without copying them."""
        return self._vector(field, 1)[1]

    def _target(self, field: int) -> int | None:
        if not self.has(field):
            return None
        position = self._position + self._slots[field]
        return position + int(_UINT32.unpack_from(self._data, position)[0])

    def _vector(self, field: int, element_bytes: int) -> tuple[int, int]:
        """Position of the first element and number of elements, all of them inside the buffer."""
        position = self._target(field)
        if position is None:
            return 0, 0
        count = int(_UINT32.unpack_from(self._data, position)[0])
        start = position + 4
        if start + count * element_bytes > len(self._data):
            raise Malformed(f"a vector of {count} elements ends outside the buffer")
        return start, count
