"""A record batch in, the bytes that its strings and dictionaries decode to out; before full validation reads them.

Views can point at the same bytes and dictionary indices at the same entry any number of times, so a few kilobytes can
decode to gigabytes, pass full validation, and make it slow. Only lengths are read here, never the bytes themselves.
"""

import pyarrow as pa
import pyarrow.compute as pc

from arrow_ingest.ipc.layout import VARIABLE
from arrow_ingest.ipc.refusal import Refused
from arrow_ingest.values import Reason

_VIEW_WORDS = 4
"""A view is four int32: length, prefix or inlined bytes, and for a long one buffer and offset."""


def expanded_bytes(array: pa.Array) -> int:
    """Bytes of the values that views and indices of strings stand for; 0 for other types.

    >>> expanded_bytes(pa.array(["abc", None, "abc"], pa.string_view()))
    6
    >>> expanded_bytes(pa.array([["abc", "abc", "d"]], pa.list_(pa.dictionary(pa.int8(), pa.utf8()))))
    7

    Args:
        array: as read from IPC, that is without offset; of an allowed type, its buffers large enough for its length
            (`body` has checked that), otherwise not validated yet.

    Raises:
        Refused: INVALID_DATA for a negative length.
        pa.ArrowIndexError: an index outside its dictionary.
    """
    kind = array.type
    if pa.types.is_string_view(kind) or pa.types.is_binary_view(kind):
        return _sum(_view_lengths(array))
    if pa.types.is_dictionary(kind):
        return _dictionary_bytes(array)
    if pa.types.is_struct(kind):
        return sum(expanded_bytes(array.field(i)) for i in range(kind.num_fields))
    if pa.types.is_map(kind):
        return expanded_bytes(array.keys) + expanded_bytes(array.items)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return expanded_bytes(array.values)
    return 0


def _view_lengths(array: pa.Array) -> pa.Array:
    """The length of each view, null where the value is null. Arrow has no kernel for it (binary_length lacks views)."""
    validity, views = array.buffers()[:2]
    count = len(array)
    words = pa.Array.from_buffers(pa.int32(), _VIEW_WORDS * count, [None, views])
    rows = pa.Array.from_buffers(pa.list_(pa.int32(), _VIEW_WORDS), count, [validity], children=[words])
    return pc.list_element(rows, 0)


def _dictionary_bytes(array: pa.DictionaryArray) -> int:
    if array.type.value_type.id not in VARIABLE:
        return 0  # `body` has counted these by their width
    return _sum(pc.take(pc.binary_length(array.dictionary), array.indices))


def _sum(lengths: pa.Array) -> int:
    extremes = pc.min_max(lengths).as_py()
    if (extremes["min"] or 0) < 0:
        raise Refused(Reason.INVALID_DATA, f"a value of {extremes['min']} bytes")
    return pc.sum(lengths).as_py() or 0
