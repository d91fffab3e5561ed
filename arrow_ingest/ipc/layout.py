"""A schema in, the field nodes and buffers that each of its record batches must have out; pure.

A record batch lists one field node (length, null count) per field, parents before children, and each node's buffers in
the same order. https://arrow.apache.org/docs/format/Columnar.html#recordbatch-message
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pyarrow as pa
from pyarrow import lib

_LARGE = frozenset({lib.Type_LARGE_STRING, lib.Type_LARGE_BINARY, lib.Type_LARGE_LIST})
VARIABLE = frozenset({lib.Type_STRING, lib.Type_BINARY, lib.Type_LARGE_STRING, lib.Type_LARGE_BINARY})
"""Types whose values have a length each, told by offsets."""

_VIEWS = frozenset({lib.Type_STRING_VIEW, lib.Type_BINARY_VIEW})
_LISTS = frozenset({lib.Type_LIST, lib.Type_LARGE_LIST, lib.Type_MAP})
_VALIDITY_ONLY = frozenset({lib.Type_STRUCT, lib.Type_FIXED_SIZE_LIST})
_VIEW_BITS = 128


class Node(NamedTuple):
    """One field node.

    Args:
        buffers: 0 null; 1 struct or fixed-size list: validity; 2 fixed width, list or view: and values, offsets or
            views; 3 variable width: and data.
        bits: size of one element of the second buffer.
        extra: 1 when the second buffer holds offsets, of which there is one more than values.
        is_column: a top-level column, as long as the batch.
        is_view: data buffers follow; the batch tells how many.
        dictionary: the id of the dictionary that the values are indices of, or None.
        entries: the node of that dictionary's own batches.
    """

    buffers: int
    bits: int = 0
    extra: int = 0
    is_column: bool = False
    is_view: bool = False
    dictionary: int | None = None
    entries: "Node | None" = None

    @property
    def expands(self) -> bool:
        """Whether the logical size stands in the values: views, and indices of entries of varying size."""
        return self.is_view or (self.entries is not None and self.entries.extra == 1)


class Layout(NamedTuple):
    """What every record batch of a schema must look like.

    Args:
        nodes: the batch's field nodes, in order.
        views: how many of them are views.
        dictionaries: by id, the node of that dictionary's batches.
        expanding: positions of the columns with a node that expands, at any depth.
    """

    nodes: tuple[Node, ...]
    views: int
    dictionaries: dict[int, Node]
    expanding: tuple[int, ...]


def layout_of(schema: pa.Schema, dictionary_ids: Sequence[int]) -> Layout:
    """The layout of a schema whose types have all passed the allowlist.

    Args:
        dictionary_ids: the id of each dictionary-encoded field, parents before children.

    Raises:
        ValueError: the ids are not as many as the dictionary-encoded fields.

    >>> layout = layout_of(pa.schema({"a": pa.list_(pa.int8()), "b": pa.dictionary(pa.int16(), pa.utf8())}), [7])
    >>> [(node.buffers, node.bits, node.extra) for node in layout.nodes]
    [(2, 32, 1), (2, 8, 0), (2, 16, 0)]
    >>> layout.dictionaries[7].buffers, layout.expanding
    (3, (1,))
    """
    ids = iter(dictionary_ids)
    columns = [tuple(_nodes(field.type, ids)) for field in schema]
    if next(ids, None) is not None:
        raise ValueError("more dictionaries than dictionary-encoded fields")
    nodes = tuple(node._replace(is_column=i == 0) for column in columns for i, node in enumerate(column))
    return Layout(
        nodes=nodes,
        views=sum(node.is_view for node in nodes),
        dictionaries={node.dictionary: node.entries for node in nodes if node.dictionary is not None and node.entries},
        expanding=tuple(i for i, column in enumerate(columns) if any(node.expands for node in column)),
    )


def _nodes(kind: pa.DataType, ids: Iterator[int]) -> Iterator[Node]:
    """The nodes of one field, itself first."""
    if kind.id == lib.Type_DICTIONARY:
        if (dictionary := next(ids, None)) is None:
            raise ValueError("fewer dictionaries than dictionary-encoded fields")
        yield _node(kind.index_type)._replace(dictionary=dictionary, entries=_node(kind.value_type))
        return
    yield _node(kind)
    for child in _children(kind):
        yield from _nodes(child, ids)


def _node(kind: pa.DataType) -> Node:
    if kind.id == lib.Type_NA:
        return Node(buffers=0)
    if kind.id in _VALIDITY_ONLY:
        return Node(buffers=1)
    if kind.id in _VIEWS:
        return Node(buffers=2, bits=_VIEW_BITS, is_view=True)
    if kind.id in VARIABLE or kind.id in _LISTS:
        return Node(buffers=3 if kind.id in VARIABLE else 2, bits=64 if kind.id in _LARGE else 32, extra=1)
    return Node(buffers=2, bits=kind.bit_width)


def _children(kind: pa.DataType) -> list[pa.DataType]:
    if kind.id == lib.Type_STRUCT:
        return [field.type for field in kind.fields]
    if kind.id == lib.Type_MAP:
        return [pa.struct([kind.key_field, kind.item_field])]
    return [kind.value_type] if kind.id in _LISTS or kind.id == lib.Type_FIXED_SIZE_LIST else []
