"""The flatbuffer reader never reads outside its buffer."""

import struct
from contextlib import suppress
from struct import pack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arrow_ingest.ipc.flatbuffer import INT64, Malformed, Table
from arrow_ingest_tests import forged_flatbuffers as forged


def read(*fields: "bytes | forged.Node") -> Table:
    return Table.root(memoryview(forged.flatbuffer(forged.Table(dict(enumerate(fields))))))


def test_fields_are_read_as_they_were_written() -> None:
    element = forged.Table({0: pack("<q", 7)})
    table = read(pack("<q", -5), forged.Text(b"abc"), forged.Tables((element, element)), forged.Longs((1, 2, 3, 4), 2))

    assert table.number(0, INT64) == -5
    assert (table.text(1), table.text_size(1)) == (b"abc", 3)
    assert table.count(2) == 2
    assert [element.number(0, INT64) for element in table.tables(2)] == [7, 7]
    assert table.int64s(3, per_element=2) == (1, 2, 3, 4)


def test_fields_that_were_left_out_have_their_defaults() -> None:
    table = read()

    assert table.number(0, INT64, default=9) == 9
    assert not table.has(3)
    assert (table.table(1), table.text(1), list(table.tables(1)), table.int64s(1)) == (None, b"", [], ())


def test_layout_before_the_buffer_is_malformed() -> None:
    # struct alone would read it from the end of the buffer
    data = pack("<Ii", 4, 8) + bytes(16)

    with pytest.raises(Malformed, match="before the start"):
        Table.root(memoryview(data))


def test_vector_that_ends_outside_the_buffer_is_malformed() -> None:
    data = forged.flatbuffer(forged.Table({0: forged.Text(bytes(77)), 1: forged.Longs((0,) * 78)}))
    table = Table.root(memoryview(data.replace(pack("<I", 77), pack("<I", 2_000)).replace(pack("<I", 78), b"\xff" * 4)))

    with pytest.raises(Malformed, match="outside the buffer"):
        table.text(0)
    with pytest.raises(Malformed, match="outside the buffer"):
        table.int64s(1)


@settings(deadline=None)
@given(st.binary(max_size=64))
def test_arbitrary_bytes_raise_nothing_else(data: bytes) -> None:
    with suppress(Malformed, struct.error):
        table = Table.root(memoryview(data))
        for field in range(4):
            with suppress(Malformed, struct.error):
                table.number(field, INT64)
            with suppress(Malformed, struct.error):
                table.text(field)
            with suppress(Malformed, struct.error):
                list(table.tables(field))
