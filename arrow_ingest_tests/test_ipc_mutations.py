"""A payload that is cut or has one bit flipped is refused or decodes to valid batches; nothing is raised or crashes."""

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from arrow_ingest.config import Limits
from arrow_ingest.ipc.decode import decode
from arrow_ingest.values import Rejection
from arrow_ingest_tests.arrow_payloads import stream_of
from arrow_ingest_tests.arrow_strategies import FLAT_TYPES, OTHER_FLAT_TYPES

ROOT = Path(__file__).parent.parent
LIMITS = Limits()
COMPRESSIONS = (None, "lz4", "zstd")


def two_values(kind: pa.DataType) -> list[Any]:
    """Two values of a flat type; texts long enough that a view of them is not inlined."""
    if pa.types.is_null(kind):
        return [None, None]
    if pa.types.is_fixed_size_binary(kind):
        return [bytes(kind.byte_width), b"x" * kind.byte_width]
    if pa.types.is_decimal(kind):
        return [Decimal(0), Decimal(f"1e{-kind.scale}")]
    if pa.types.is_boolean(kind):
        return [True, False]
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_temporal(kind):
        return [0, 86_400_000 if pa.types.is_date64(kind) else 1]
    return ["é" * 10, ""] if "string" in str(kind) else [b"\xff" * 20, b""]


def flat_array(kind: pa.DataType) -> pa.Array:
    first, second = two_values(kind)
    return pa.array([first, None, second], kind)


TEXTS = ["a", None, "b"]
NESTED = {
    "dictionary": pa.array(TEXTS).dictionary_encode(),
    "list": pa.array([[1, None], None, []], pa.list_(pa.int16())),
    "large_list": pa.array([["a"], None, []], pa.large_list(pa.utf8())),
    "fixed_size_list": pa.array([[1, 2], None, [3, None]], pa.list_(pa.int8(), 2)),
    "struct": pa.array([{"x": 1, "y": "a"}, None, {"x": None, "y": None}]),
    "list_of_structs": pa.array([[{"x": 1}, None], None, []]),
    "map": pa.array([[("k", 1)], None, []], pa.map_(pa.utf8(), pa.int8())),
    "list_of_dictionary": pa.ListArray.from_arrays(pa.array([0, 1, 1, 3]), pa.array(TEXTS).dictionary_encode()),
    "list_of_views": pa.array([["a" * 20, None], None, []], pa.list_(pa.string_view())),
}
EXAMPLES = {str(kind): flat_array(kind) for kind in (*FLAT_TYPES, *OTHER_FLAT_TYPES)} | NESTED

# A codec sees bytes, no types: one type of each layout will do.
OF_EACH_LAYOUT = ("bool", "int64", "decimal128(38, 38)", "string", "large_string", "string_view", "binary_view", "null")
COMPRESSED_EXAMPLES = {name: EXAMPLES[name] for name in OF_EACH_LAYOUT} | NESTED


def payload_of(array: pa.Array, compression: str | None = None) -> pa.Buffer:
    return stream_of(pa.record_batch([array], ["c"]), compression)


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("array", NESTED.values(), ids=NESTED)
def test_every_truncation_is_refused(array: pa.Array, compression: str | None) -> None:
    payload = payload_of(array, compression)
    assert not isinstance(decode(payload, LIMITS), Rejection)

    for size in range(payload.size):
        assert isinstance(decode(payload.slice(0, size), LIMITS), Rejection), (
            f"the first {size} of {payload.size} bytes"
        )


# A compressed stream has the schema of the plain one, so its schema is not flipped again.
@pytest.mark.parametrize(
    ("command", "compression", "examples"),
    [
        ("flips", None, EXAMPLES),
        ("batch_flips", "lz4", COMPRESSED_EXAMPLES),
        ("batch_flips", "zstd", COMPRESSED_EXAMPLES),
    ],
    ids=["plain", "lz4", "zstd"],
)
def test_every_bit_flip_is_refused_or_decodes_to_valid_batches(
    command: str, compression: str | None, examples: dict[str, pa.Array], tmp_path: Path
) -> None:
    files = [tmp_path / f"{i}.arrows" for i in range(len(examples))]
    for file, array in zip(files, examples.values(), strict=True):
        file.write_bytes(payload_of(array, compression).to_pybytes())

    child = [sys.executable, "-m", "arrow_ingest_tests.decode_child", command, *map(str, files)]
    done = subprocess.run(child, check=False, capture_output=True, text=True, timeout=150, cwd=ROOT)

    assert done.returncode == 0, done.stderr
    reports = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(reports) == len(examples)
    for file, report in zip(files, reports, strict=True):
        flipped = file.stat().st_size - report["first_byte"]
        assert sum(report["outcomes"].values()) == 8 * flipped
        assert report["outcomes"]["decoded"] < 8 * flipped
