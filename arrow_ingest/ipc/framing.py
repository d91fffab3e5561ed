"""A payload's bytes in, the frames of its one Arrow IPC stream out; nothing of their content is trusted or copied.

A frame is ``0xFFFFFFFF``, the metadata's size as int32, the metadata, and a body whose size the metadata tells; the
stream ends with ``0xFFFFFFFF 0x00000000``, and the payload with it. ``read_all()`` of pyarrow takes a stream that
is cut between two frames, and ignores what follows the end. The framing of Arrow before 0.15 (2019) has no continuation
marker, so that four zero bytes end it wherever they stand; it is refused.
"""

from dataclasses import dataclass
from enum import IntEnum
from struct import Struct

from arrow_ingest.config import Limits
from arrow_ingest.ipc.flatbuffer import INT16, INT64, UINT8, Malformed, Table
from arrow_ingest.ipc.refusal import Refused
from arrow_ingest.ipc.texts import TextBudget
from arrow_ingest.values import Reason

_CONTINUATION = 0xFFFFFFFF
_PREFIX = Struct("<Ii")
PREFIX_BYTES = _PREFIX.size
_FILE_MAGIC = b"ARROW1"

_VERSION, _HEADER_TYPE, HEADER, _BODY_LENGTH, _CUSTOM_METADATA = range(5)
_V4, _V5 = 3, 4


class FrameKind(IntEnum):
    """The message headers that a stream may carry (MessageHeader of Message.fbs)."""

    SCHEMA = 1
    DICTIONARY = 2
    RECORD_BATCH = 3


@dataclass(frozen=True, slots=True)
class Frame:
    """One message of the stream; positions count from the start of the payload.

    Args:
        header: the Schema, DictionaryBatch or RecordBatch table; reads from the payload's memory.
        start: where the frame's prefix begins.
        body_start: where its body begins, that is where its metadata ends.
        body_bytes: size of the body, which lies inside the payload.
    """

    kind: FrameKind
    header: Table
    start: int
    body_start: int
    body_bytes: int

    @property
    def stop(self) -> int:
        """Where the next frame begins."""
        return self.body_start + self.body_bytes


def split(payload: memoryview, limits: Limits) -> tuple[Frame, ...]:
    """The frames of the stream: one schema, then dictionary and record batches, no more of them than allowed.

    Raises:
        Refused: FRAMING, TRUNCATED, TRAILING_BYTES, METADATA, TOO_MANY_BATCHES or TOO_MANY_DICTIONARIES.
        Malformed, struct.error: metadata that is no flatbuffer.
    """
    frames: list[Frame] = []
    left = {
        FrameKind.SCHEMA: 1,
        FrameKind.DICTIONARY: limits.max_dictionaries,
        FrameKind.RECORD_BATCH: limits.max_batches,
    }
    position = 0
    while size := _metadata_size(payload, position):
        frame = _frame(payload, position, size, limits)
        if (frame.kind is FrameKind.SCHEMA) is not (not frames):
            raise Refused(Reason.FRAMING, "a stream is one schema and then its batches, and a message is one stream")
        left[frame.kind] -= 1
        if left[frame.kind] < 0:
            raise _too_many(frame.kind, limits)
        frames.append(frame)
        position = frame.stop
    if not frames:
        raise Refused(Reason.FRAMING, "the stream ends before its schema")
    if trailing := len(payload) - position - PREFIX_BYTES:
        raise Refused(Reason.TRAILING_BYTES, f"{trailing} bytes follow the end of the stream")
    return tuple(frames)


def _metadata_size(payload: memoryview, position: int) -> int:
    """The size that the prefix at ``position`` tells, at least 0 and inside the payload; 0 ends the stream."""
    if position == 0 and bytes(payload[: len(_FILE_MAGIC)]) == _FILE_MAGIC:
        raise Refused(Reason.FRAMING, "this is the Arrow file format: send the stream format (pyarrow.ipc.new_stream)")
    if position + PREFIX_BYTES > len(payload):
        raise Refused(Reason.TRUNCATED, f"no end-of-stream marker: the payload ends at byte {len(payload)}")
    continuation, size = _PREFIX.unpack_from(payload, position)
    if continuation != _CONTINUATION:
        raise Refused(
            Reason.FRAMING,
            f"no continuation marker at byte {position}: not an Arrow IPC stream, or one as written before Arrow 0.15",
        )
    if size < 0:
        raise Refused(Reason.FRAMING, f"metadata of {size} bytes at byte {position}")
    if position + PREFIX_BYTES + size > len(payload):
        raise Refused(Reason.TRUNCATED, f"the metadata at byte {position} claims {size} bytes, more than follow")
    return int(size)


def _frame(payload: memoryview, start: int, metadata_bytes: int, limits: Limits) -> Frame:
    body_start = start + PREFIX_BYTES + metadata_bytes
    message = Table.root(payload[start + PREFIX_BYTES : body_start])
    version = message.number(_VERSION, INT16)
    if version not in (_V4, _V5):
        raise Refused(Reason.METADATA, f"metadata version V{version + 1}: only V4 and V5 can be read")
    if message.has(_CUSTOM_METADATA):
        # Arrow 0.17 named the codec of compressed V4 bodies there, which would let sizes go unseen.
        if version == _V4:
            raise Refused(Reason.METADATA, "a message of metadata version V4 with custom metadata")
        TextBudget(limits.max_schema_bytes).spend_pairs(message, _CUSTOM_METADATA)
    body_bytes = message.number(_BODY_LENGTH, INT64)
    if body_bytes < 0:
        raise Refused(Reason.METADATA, f"a body of {body_bytes} bytes at byte {body_start}")
    if body_start + body_bytes > len(payload):
        raise Refused(Reason.TRUNCATED, f"the body at byte {body_start} claims {body_bytes} bytes, more than follow")
    header = message.table(HEADER)
    if header is None:
        raise Malformed("a message without a header")
    return Frame(_kind(message.number(_HEADER_TYPE, UINT8)), header, start, body_start, body_bytes)


def _kind(header_type: int) -> FrameKind:
    try:
        return FrameKind(header_type)
    except ValueError:
        raise Refused(
            Reason.METADATA, f"message header {header_type}: neither schema nor dictionary nor batch"
        ) from None


def _too_many(kind: FrameKind, limits: Limits) -> Refused:
    if kind is FrameKind.DICTIONARY:
        return Refused(Reason.TOO_MANY_DICTIONARIES, f"more than {limits.max_dictionaries} dictionary batches")
    return Refused(Reason.TOO_MANY_BATCHES, f"more than {limits.max_batches} record batches")
