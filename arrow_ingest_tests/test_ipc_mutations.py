"""A payload that is cut or has one bit flipped is refused or decodes to valid batches; nothing is raised or crashes."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from arrow_ingest.config import Limits
from arrow_ingest.ipc.decode import decode
from arrow_ingest.values import Rejection
from arrow_ingest_tests.arrow_examples import COMPRESSIONS, EXAMPLES, NESTED, payload_of

ROOT = Path(__file__).parent.parent
LIMITS = Limits()
# A codec sees bytes, no types: one type of each layout will do.
OF_EACH_LAYOUT = ("bool", "int64", "decimal128(38, 38)", "string", "large_string", "string_view", "binary_view", "null")
COMPRESSED_EXAMPLES = {name: EXAMPLES[name] for name in OF_EACH_LAYOUT} | NESTED


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
@pytest.mark.chaos
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
