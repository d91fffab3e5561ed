"""Arrow's views of text and bytes in, ordinary text and bytes out, which is what the table holds."""

import pyarrow as pa
import pyarrow.compute as pc

_VIEW_BYTES = 16


def cast_leaf(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """Cast values that have no parts. What stands in a view's place where the value is null does not count.

    It may be anything, and full validation passes over it; but Arrow's own cast adds up the lengths of all views and
    reserves that much (26.0.1): a negative one ended the process, large ones took all memory.

    Raises:
        pa.ArrowInvalid: a value does not fit.

    >>> cast_leaf(pa.array(["a text that is not inlined", None], pa.string_view()), pa.string()).null_count
    1
    """
    if array.null_count and (pa.types.is_string_view(array.type) or pa.types.is_binary_view(array.type)):
        array = _without_views_of_nulls(array)
    return array.cast(kind)


def _without_views_of_nulls(array: pa.Array) -> pa.Array:
    """The same values over the same data, with empty views where there is none."""
    validity, views, *data = array.buffers()
    stop = array.offset + len(array)
    words = pa.Array.from_buffers(pa.binary(_VIEW_BYTES), stop, [validity, views])
    kept = pc.fill_null(words, bytes(_VIEW_BYTES)).buffers()[1]
    return pa.Array.from_buffers(array.type, len(array), [validity, kept, *data], offset=array.offset)
