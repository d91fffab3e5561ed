"""A received Arrow array in, the same values in a storable type out; what already has the type keeps its buffers.

Parents of nested arrays keep their validity and offsets in place: only the leaves that differ are written anew.
"""

import pyarrow as pa

from arrow_ingest.lake.instants import exact_instants
from arrow_ingest.lake.sqltypes import TIMESTAMPTZ, fold
from arrow_ingest.lake.views import cast_leaf


def retyped(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """``array`` as ``kind``, which is at least as wide: see `storable` and `merged`.

    Raises:
        pa.ArrowInvalid: a value would lose digits or does not fit.

    >>> retyped(pa.array([{"B": 1, "gone": None}]), pa.struct([("a", pa.string()), ("b", pa.int64())])).to_pylist()
    [{'a': None, 'b': 1}]
    """
    if array.type == kind:
        return array
    if pa.types.is_null(array.type):
        return pa.nulls(len(array), kind)
    if pa.types.is_dictionary(array.type):
        return retyped(array.dictionary_decode(), kind)
    if isinstance(kind, pa.StructType):
        return _retyped_struct(array, kind)
    if isinstance(kind, pa.ListType):
        return _retyped_list(array, kind)
    if isinstance(kind, pa.MapType):
        return _retyped_map(array, kind)
    return exact_instants(array) if kind == TIMESTAMPTZ else cast_leaf(array, kind)


def _retyped_struct(array: pa.StructArray, kind: pa.StructType) -> pa.StructArray:
    """Fields by name, whatever their order and ASCII case; those that the message lacks are NULL."""
    index = {fold(field.name): position for position, field in enumerate(array.type)}
    sources = [index.get(fold(field.name)) for field in kind]
    children = [
        pa.nulls(len(array), field.type) if source is None else retyped(array.field(source), field.type)
        for field, source in zip(kind, sources, strict=True)
    ]
    mask = array.is_null() if array.null_count else None
    return pa.StructArray.from_arrays(children, fields=list(kind), mask=mask)


def _retyped_list(array: pa.Array, kind: pa.ListType) -> pa.ListArray:
    if not pa.types.is_list(array.type):
        array = array.cast(pa.list_(array.type.value_type))
    return _with_child(array, kind, retyped(array.values, kind.value_type))


def _retyped_map(array: pa.MapArray, kind: pa.MapType) -> pa.MapArray:
    columns = [retyped(array.keys, kind.key_type), retyped(array.items, kind.item_type)]
    entries = pa.StructArray.from_arrays(columns, fields=[kind.key_field, kind.item_field])
    return _with_child(array, kind, entries)


def _with_child(array: pa.Array, kind: pa.DataType, child: pa.Array) -> pa.Array:
    """Validity and offsets of ``array`` over a child of another type; offsets count from the child's first value."""
    validity, offsets = array.buffers()[:2]
    return pa.Array.from_buffers(kind, len(array), [validity, offsets], offset=array.offset, children=[child])
