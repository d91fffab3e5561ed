"""Dictionary and record batch headers in, what their bodies claim out; nothing is allocated or decompressed.

Compressed buffers, null columns, booleans, buffers that overlap and dictionaries can claim far more than they hold.
Everything is therefore summed before pyarrow may allocate:

- the buffers, those of a compressed body by the uncompressed size in their first 8 bytes (-1: stored as it is);
- four bytes a value at every depth, the size of INTEGER, because a null needs no byte to come in;
- what indices of fixed-width dictionary entries decode to;
- each dictionary as often as a batch refers to it, because full validation reads it every time.

What strings decode to, for views and dictionaries of them, is told by their values alone: see ``size``.
"""

from collections.abc import Iterator, Sequence
from operator import add
from typing import NamedTuple

from arrow_ingest.config import Limits
from arrow_ingest.ipc.flatbuffer import BOOL, INT8, INT64, Malformed, Table
from arrow_ingest.ipc.framing import Frame, FrameKind
from arrow_ingest.ipc.layout import Layout, Node
from arrow_ingest.ipc.refusal import Refused
from arrow_ingest.values import Reason

_ID, _DATA, _IS_DELTA = range(3)
_LENGTH, _NODES, _BUFFERS, _COMPRESSION, _VARIADIC_COUNTS = range(5)
_CODEC, _METHOD = range(2)
_LZ4_FRAME, _ZSTD = 0, 1
_STORED = -1
_VALUE_BYTES = 4


class Claim(NamedTuple):
    """What one batch, or all batches of a message, claim.

    Args:
        buffer_bytes: all buffers, uncompressed.
        expanded_bytes: what comes on top of them once every value takes room.
        decompressed_bytes: the part of ``buffer_bytes`` that has to be decompressed, that is copied.
    """

    rows: int = 0
    buffer_bytes: int = 0
    expanded_bytes: int = 0
    decompressed_bytes: int = 0

    @property
    def logical_bytes(self) -> int:
        """Everything together, which the limits bound."""
        return self.buffer_bytes + self.expanded_bytes

    def plus(self, other: "Claim") -> "Claim":
        """The sum of both."""
        return Claim(*map(add, self, other))


def claim_of(payload: memoryview, frames: Sequence[Frame], layout: Layout, limits: Limits) -> Claim:
    """What all batches claim together; ``rows`` counts those of record batches.

    Raises:
        Refused: METADATA, TOO_MANY_ROWS, DECLARED_SIZE or LOGICAL_SIZE.
        Malformed, struct.error: a header that is no flatbuffer.
    """
    total = Claim()
    dictionaries: dict[int, int] = {}
    for frame in frames:
        if frame.kind is FrameKind.DICTIONARY:
            dictionary, claim = _dictionary(payload, frame, layout)
            dictionaries[dictionary] = claim.logical_bytes
        else:
            claim = _batch(payload, frame, frame.header, layout.nodes, layout.views)
            claim = claim._replace(expanded_bytes=claim.expanded_bytes + sum(_referred(layout, dictionaries)))
        total = total.plus(claim)
        check_size(total, limits)
    return total


def check_size(claim: Claim, limits: Limits) -> None:
    """Refuses a claim over the limits.

    >>> check_size(Claim(rows=10), Limits(max_rows=9))
    Traceback (most recent call last):
    arrow_ingest.ipc.refusal.Refused: more than 9 rows
    """
    if claim.rows > limits.max_rows:
        raise Refused(Reason.TOO_MANY_ROWS, f"more than {limits.max_rows} rows")
    if claim.buffer_bytes > limits.max_logical_bytes:
        detail = f"{claim.buffer_bytes} bytes of buffers are declared, more than {limits.max_logical_bytes}"
        raise Refused(Reason.DECLARED_SIZE, detail)
    if claim.logical_bytes > limits.max_logical_bytes:
        detail = f"the values expand to {claim.logical_bytes} bytes, more than {limits.max_logical_bytes}"
        raise Refused(Reason.LOGICAL_SIZE, detail)


def _referred(layout: Layout, dictionaries: dict[int, int]) -> Iterator[int]:
    for node in layout.nodes if layout.dictionaries else ():
        if node.dictionary is not None:
            if node.dictionary not in dictionaries:
                raise Refused(Reason.METADATA, f"a record batch before its dictionary {node.dictionary}")
            yield dictionaries[node.dictionary]


def _dictionary(payload: memoryview, frame: Frame, layout: Layout) -> tuple[int, Claim]:
    """The dictionary's id, and its claim with no rows. A dictionary sent again replaces the former."""
    dictionary = frame.header.number(_ID, INT64)
    entries = layout.dictionaries.get(dictionary)
    if entries is None:
        raise Refused(Reason.METADATA, f"dictionary {dictionary} belongs to no field")
    if frame.header.number(_IS_DELTA, BOOL):
        # Each batch after a delta would get a copy of all of the dictionary so far.
        raise Refused(Reason.METADATA, f"dictionary {dictionary} comes as a delta: send it whole")
    batch = frame.header.table(_DATA)
    if batch is None:
        raise Malformed("a dictionary batch without its data")
    return dictionary, _batch(payload, frame, batch, (entries._replace(is_column=True),), 0)._replace(rows=0)


def _batch(payload: memoryview, frame: Frame, batch: Table, nodes: Sequence[Node], views: int) -> Claim:
    rows = batch.number(_LENGTH, INT64)
    variadic = batch.int64s(_VARIADIC_COUNTS)
    if len(variadic) != views or any(count < 0 for count in variadic):
        raise Refused(Reason.METADATA, f"data buffers are counted for {len(variadic)} views instead of {views}")
    sizes, decompressed_bytes = _buffer_sizes(payload, frame, batch)
    expected = sum(node.buffers for node in nodes) + sum(variadic)
    if len(sizes) != expected:
        raise Refused(Reason.METADATA, f"{len(sizes)} buffers instead of {expected}")
    lengths = batch.int64s(_NODES, 2)
    if len(lengths) != 2 * len(nodes):
        raise Refused(Reason.METADATA, f"{len(lengths) // 2} field nodes instead of {len(nodes)}")
    expanded_bytes = _check_nodes(rows, nodes, lengths, sizes, iter(variadic))
    return Claim(rows, sum(sizes), expanded_bytes, decompressed_bytes)


def _check_nodes(
    rows: int, nodes: Sequence[Node], lengths: Sequence[int], sizes: Sequence[int], variadic: Iterator[int]
) -> int:
    """Checks that the buffers hold the values of each node, and returns the bytes that the values expand to.

    Args:
        lengths: of each node the number of values and of nulls, flat.
        sizes: of each buffer, in the order of the nodes.
    """
    expanded_bytes = 0
    buffer = 0
    for i, node in enumerate(nodes):
        length, nulls = lengths[2 * i], lengths[2 * i + 1]
        if not 0 <= nulls <= length or (node.is_column and length != rows):
            raise Refused(Reason.METADATA, f"node {i} has {nulls} nulls in {length} values of a batch of {rows} rows")
        if node.buffers and nulls and 8 * sizes[buffer] < length:
            raise Refused(Reason.METADATA, f"node {i}: the validity buffer is too small for {length} values")
        if node.buffers > 1 and length and 8 * sizes[buffer + 1] < node.bits * (length + node.extra):
            raise Refused(Reason.METADATA, f"node {i}: a buffer of {sizes[buffer + 1]} bytes for {length} values")
        expanded_bytes += length * _VALUE_BYTES
        if node.entries is not None and not node.entries.extra:
            expanded_bytes += length * node.entries.bits // 8
        buffer += node.buffers + (next(variadic) if node.is_view else 0)
    return expanded_bytes


def _buffer_sizes(payload: memoryview, frame: Frame, batch: Table) -> tuple[Sequence[int], int]:
    """The uncompressed size of each buffer, and how many bytes of them have to be decompressed."""
    places = batch.int64s(_BUFFERS, 2)
    offsets, sizes = places[::2], places[1::2]
    if places and (min(places) < 0 or max(map(add, offsets, sizes)) > frame.body_bytes):
        raise Refused(Reason.METADATA, f"a buffer outside the body of {frame.body_bytes} bytes")
    compression = batch.table(_COMPRESSION)
    if compression is None:
        return sizes, 0
    if compression.number(_CODEC, INT8) not in (_LZ4_FRAME, _ZSTD) or compression.number(_METHOD, INT8):
        raise Refused(Reason.METADATA, "the body is compressed with neither LZ4_FRAME nor ZSTD")
    return _compressed_sizes(payload[frame.body_start : frame.stop], offsets, sizes)


def _compressed_sizes(body: memoryview, offsets: Sequence[int], sizes: Sequence[int]) -> tuple[list[int], int]:
    plain_sizes: list[int] = []
    decompressed_bytes = 0
    for offset, size in zip(offsets, sizes, strict=True):
        if not size:
            plain_sizes.append(0)
            continue
        if size < INT64.size:
            raise Refused(Reason.METADATA, f"a compressed buffer of {size} bytes has no room for its size")
        declared = INT64.unpack_from(body, offset)[0]
        if declared < _STORED:
            raise Refused(Reason.METADATA, f"a compressed buffer declares {declared} bytes")
        plain_sizes.append(size - INT64.size if declared == _STORED else declared)
        decompressed_bytes += max(declared, 0)
    return plain_sizes, decompressed_bytes
