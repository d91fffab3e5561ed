"""Payloads of a few kilobytes that claim gigabytes: each is refused, and the process does not grow."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from struct import pack

import pyarrow as pa
import pytest

from arrow_ingest.values import Reason
from arrow_ingest_tests import forged_flatbuffers as forged
from arrow_ingest_tests.arrow_payloads import CONTINUATION, END_OF_STREAM, frames_of, schema_stream, stream_of

GIB = 1024**3
MOST_GROWTH_MIB = 32
MOST_CPU_SECONDS = 0.5
"""They take milliseconds (most 0.1, the slowest 50); who is let in to be expanded takes seconds or never ends."""
MOST_ROWS = 1_000_000

ROOT = Path(__file__).parent.parent


def column(array: pa.Array, compression: str | None = None) -> bytes:
    return stream_of(pa.record_batch([array], ["c"]), compression).to_pybytes()


def compressed_bodies(claimed_bytes: int, columns: int = 1) -> bytes:
    """Zeros that compress well, their uncompressed sizes forged."""
    zeros = pa.array([0] * 1_000, pa.int64())
    honest = stream_of(pa.record_batch([zeros] * columns, [f"c{i}" for i in range(columns)]), "zstd").to_pybytes()
    assert honest.count(pack("<q", 8_000)) >= columns
    return honest.replace(pack("<q", 8_000), pack("<q", claimed_bytes))


def run_ends() -> bytes:
    return column(pa.RunEndEncodedArray.from_arrays(pa.array([2**31 - 1], pa.int32()), pa.array(["x" * 1_000])))


def dictionary_of_one_long_text() -> bytes:
    indices = pa.array([0] * MOST_ROWS, pa.int8())
    return column(pa.DictionaryArray.from_arrays(indices, pa.array(["x" * 100_000])), "zstd")


def nested_dictionary_of_one_long_text() -> bytes:
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * MOST_ROWS, pa.int8()), pa.array(["x" * 100_000]))
    return column(pa.ListArray.from_arrays(pa.array([0, MOST_ROWS], pa.int32()), texts), "zstd")


def dictionary_of_one_wide_value() -> bytes:
    wide = pa.array([bytes(100_000)], pa.binary(100_000))
    return column(pa.DictionaryArray.from_arrays(pa.array([0] * MOST_ROWS, pa.int8()), wide), "zstd")


def dictionary_read_by_every_batch() -> bytes:
    entries = pa.array(["x" * 1_000_000])
    one = pa.DictionaryArray.from_arrays(pa.array([0], pa.int8()), entries)
    schema, dictionary, batch = frames_of(stream_of(pa.record_batch([one], ["c"])))
    return schema + dictionary + batch * 1_000 + END_OF_STREAM


def views_of_one_long_text(kind: pa.DataType) -> bytes:
    _, view, text = pa.array(["x" * 100_000], kind).buffers()
    views = pa.py_buffer(view.to_pybytes()[:16] * 100_000)
    return column(pa.Array.from_buffers(kind, 100_000, [None, views, text]), "zstd")


def list_views_of_one_list() -> bytes:
    offsets, sizes = (pa.array([value] * 10_000, pa.int32()) for value in (0, 10_000))
    return column(pa.ListViewArray.from_arrays(offsets, sizes, pa.array([0] * 10_000, pa.int8())), "zstd")


def null_rows() -> bytes:
    return column(pa.nulls(1_000)).replace(pack("<q", 1_000), pack("<q", 2**40))


def null_columns() -> bytes:
    return stream_of(pa.record_batch([pa.nulls(MOST_ROWS)] * 100, [f"c{i}" for i in range(100)])).to_pybytes()


def list_of_nulls() -> bytes:
    return column(pa.ListArray.from_arrays(pa.array([0, 2**27], pa.int32()), pa.nulls(2**27)))


def values_of_no_width(kind: pa.DataType) -> bytes:
    children = [pa.array([], kind.value_type)] if pa.types.is_fixed_size_list(kind) else []
    buffers = [None, pa.py_buffer(b"")] if pa.types.is_fixed_size_binary(kind) else [None]
    return column(pa.Array.from_buffers(kind, MOST_ROWS, buffers, children=children))


def buffers_that_overlap() -> bytes:
    rows, columns = 131_072, 1_000
    fields = [forged.int64_field(f"c{i}".encode()) for i in range(columns)]
    batch = forged.batch_frame(rows, (rows, 0) * columns, (0, 0, 0, 8 * rows) * columns, bytes(8 * rows))
    return forged.stream(forged.schema_frame(*fields), batch)


def deep_type() -> bytes:
    kind = pa.int8()
    for _ in range(100):
        kind = pa.list_(kind)
    return schema_stream(pa.schema([("c", kind)])).to_pybytes()


def many_columns() -> bytes:
    return schema_stream(pa.schema([(f"c{i}", pa.int8()) for i in range(20_000)])).to_pybytes()


def fields_that_share_children() -> bytes:
    level = forged.Tables((forged.int64_field(b"leaf"),) * 8)
    for _ in range(12):
        level = forged.Tables((forged.field(b"branch", forged.STRUCT_TYPE, children=level),) * 8)
    return forged.stream(forged.schema_frame(*level.elements))


def fields_that_share_metadata() -> bytes:
    metadata = forged.pairs((forged.Text(b"k"), forged.Text(bytes(1_000_000))))
    return forged.stream(forged.schema_frame(*(forged.int64_field(f"c{i}".encode(), metadata) for i in range(2_000))))


def schema_metadata_that_shares_texts() -> bytes:
    pair = (forged.Text(b"k"), forged.Text(bytes(100_000)))
    return forged.stream(forged.schema_frame(forged.int64_field(b"c"), metadata=forged.pairs(*[pair] * 1_000)))


def pairs_that_share_texts() -> bytes:
    pair = (forged.Text(b"k"), forged.Text(bytes(100_000)))
    header = forged.Table({0: pack("<q", 0), 1: forged.Longs((0, 0), 2), 2: forged.Longs((0, 0, 0, 0), 2)})
    batch = forged.frame(forged.RECORD_BATCH, header, metadata=forged.pairs(*[pair] * 50_000))
    return forged.stream(forged.schema_frame(forged.int64_field(b"c")), batch)


def thousands_of_dictionaries() -> bytes:
    entry = pa.array(["a"]).dictionary_encode()
    return stream_of(pa.record_batch([entry] * 2_000, [f"c{i}" for i in range(2_000)])).to_pybytes()


def one_dictionary_thousands_of_times() -> bytes:
    schema, dictionary, batch = frames_of(stream_of(pa.record_batch([pa.array(["a"]).dictionary_encode()], ["c"])))
    return schema + dictionary * 5_000 + batch + END_OF_STREAM


def thousands_of_batches() -> bytes:
    schema, batch = frames_of(stream_of(pa.record_batch([pa.array([], pa.int8())], ["c"])))
    return schema + batch * 5_000 + END_OF_STREAM


def lying_metadata_size() -> bytes:
    return CONTINUATION + pack("<i", 2**31 - 1) + bytes(1_000)


def lying_body_size() -> bytes:
    schema, batch = frames_of(stream_of(pa.record_batch([pa.array([1], pa.int64())], ["c"])))
    assert batch.count(pack("<q", 8)) == 2  # size of the buffer, size of the body
    return schema + batch.replace(pack("<q", 8), pack("<q", 2**62)) + END_OF_STREAM


def large() -> bytes:
    """No bomb: within the limits, it is decoded and needs 128 MiB."""
    return column(pa.Array.from_buffers(pa.binary(1024), 131_072, [None, pa.py_buffer(bytes(128 * 1024**2))]), "zstd")


BOMBS: dict[str, tuple[Callable[[], bytes], Reason]] = {
    "one_compressed_column": (lambda: compressed_bodies(2 * GIB), Reason.DECLARED_SIZE),
    "many_compressed_columns": (lambda: compressed_bodies(10 * 1024**2, columns=100), Reason.DECLARED_SIZE),
    "run_ends": (run_ends, Reason.TYPE_NOT_ALLOWED),
    "dictionary_of_one_long_text": (dictionary_of_one_long_text, Reason.LOGICAL_SIZE),
    "nested_dictionary_of_one_long_text": (nested_dictionary_of_one_long_text, Reason.LOGICAL_SIZE),
    "dictionary_of_one_wide_value": (dictionary_of_one_wide_value, Reason.LOGICAL_SIZE),
    "dictionary_read_by_every_batch": (dictionary_read_by_every_batch, Reason.LOGICAL_SIZE),
    "string_views": (lambda: views_of_one_long_text(pa.string_view()), Reason.LOGICAL_SIZE),
    "binary_views": (lambda: views_of_one_long_text(pa.binary_view()), Reason.LOGICAL_SIZE),
    "list_views": (list_views_of_one_list, Reason.TYPE_NOT_ALLOWED),
    "null_rows": (null_rows, Reason.TOO_MANY_ROWS),
    "null_columns": (null_columns, Reason.LOGICAL_SIZE),
    "list_of_nulls": (list_of_nulls, Reason.LOGICAL_SIZE),
    "binary_of_no_width": (lambda: values_of_no_width(pa.binary(0)), Reason.TYPE_NOT_ALLOWED),
    "list_of_no_width": (lambda: values_of_no_width(pa.list_(pa.int8(), 0)), Reason.TYPE_NOT_ALLOWED),
    "struct_of_no_width": (lambda: values_of_no_width(pa.struct([])), Reason.TYPE_NOT_ALLOWED),
    "buffers_that_overlap": (buffers_that_overlap, Reason.DECLARED_SIZE),
    "deep_type": (deep_type, Reason.TOO_DEEP),
    "many_columns": (many_columns, Reason.TOO_MANY_COLUMNS),
    "fields_that_share_children": (fields_that_share_children, Reason.TOO_MANY_COLUMNS),
    "fields_that_share_metadata": (fields_that_share_metadata, Reason.METADATA),
    "schema_metadata_that_shares_texts": (schema_metadata_that_shares_texts, Reason.METADATA),
    "pairs_that_share_texts": (pairs_that_share_texts, Reason.METADATA),
    "thousands_of_dictionaries": (thousands_of_dictionaries, Reason.TOO_MANY_DICTIONARIES),
    "one_dictionary_thousands_of_times": (one_dictionary_thousands_of_times, Reason.TOO_MANY_DICTIONARIES),
    "thousands_of_batches": (thousands_of_batches, Reason.TOO_MANY_BATCHES),
    "lying_metadata_size": (lying_metadata_size, Reason.TRUNCATED),
    "lying_body_size": (lying_body_size, Reason.TRUNCATED),
}


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    """What one process of its own reports of every bomb, after an honest payload that makes it load everything."""
    folder = tmp_path_factory.mktemp("bombs")
    honest = pa.table({"c": pa.array(["a", None, "b"]).dictionary_encode(), "v": pa.array(["a"] * 3, pa.string_view())})
    payloads = {"honest": stream_of(honest, "zstd").to_pybytes()}
    payloads |= {name: build() for name, (build, _) in BOMBS.items()}
    payloads["large"] = large()  # the last one, since its memory is not given back at once
    files = [folder / f"{name}.arrows" for name in payloads]
    for file, payload in zip(files, payloads.values(), strict=True):
        file.write_bytes(payload)
    child = [sys.executable, "-m", "arrow_ingest_tests.decode_child", "peaks", *map(str, files)]
    output = subprocess.run(child, check=True, capture_output=True, text=True, timeout=120, cwd=ROOT).stdout
    return {report["name"]: report for report in map(json.loads, output.splitlines())}


def test_honest_payload_is_decoded_in_the_child(reports: dict[str, dict[str, object]]) -> None:
    assert reports["honest"]["outcome"] == "decoded"


def test_growth_would_be_seen(reports: dict[str, dict[str, float]]) -> None:
    assert reports["large"]["outcome"] == "decoded"
    assert reports["large"]["grown_mib"] > 2 * MOST_GROWTH_MIB


@pytest.mark.chaos(bombs=1)
@pytest.mark.parametrize("name", BOMBS)
def test_bomb_is_refused_without_growth(name: str, reports: dict[str, dict[str, float]]) -> None:
    assert reports[name]["outcome"] == BOMBS[name][1].value
    assert reports[name]["grown_mib"] < MOST_GROWTH_MIB
    assert reports[name]["cpu_seconds"] < MOST_CPU_SECONDS
