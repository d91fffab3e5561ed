"""A process of its own that decodes what may kill it, and reports on stdout in JSON.

`peaks FILE…` decodes each file under the default limits: what came of it, and by how much the peak memory grew.
`flips FILE…` decodes each file once for every bit, with that bit flipped: how often each outcome came. `batch_flips
FILE…` leaves the schema's bits alone.
"""

import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa

from arrow_ingest.config import Limits
from arrow_ingest.ipc.decode import decode
from arrow_ingest.values import Rejection

LIMITS = Limits()


def outcome(payload: bytes | bytearray) -> str:
    """The reason code, or "decoded" for batches that are valid."""
    decoded = decode(pa.py_buffer(payload), LIMITS)
    if isinstance(decoded, Rejection):
        return decoded.reason.value
    for batch in decoded.batches:
        batch.validate(full=True)
    return "decoded"


def flips(path: Path) -> dict[str, Any]:
    """Every bit of the payload."""
    return _flips(bytearray(path.read_bytes()), first_byte=0)


def batch_flips(path: Path) -> dict[str, Any]:
    """Every bit after the schema message, which ends where its prefix tells."""
    payload = bytearray(path.read_bytes())
    return _flips(payload, first_byte=8 + int.from_bytes(payload[4:8], "little"))


def _flips(payload: bytearray, first_byte: int) -> dict[str, Any]:
    counts: Counter[str] = Counter()
    for bit in range(8 * first_byte, 8 * len(payload)):
        payload[bit // 8] ^= 1 << bit % 8
        counts[outcome(bytes(payload))] += 1
        payload[bit // 8] ^= 1 << bit % 8
    return {"first_byte": first_byte, "outcomes": counts}


def forget_peak() -> None:
    """Begin to measure the peak anew. What `getrusage` tells is no use: it begins with the parent's peak."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_kib() -> int:
    """The most memory that this process has had since the peak was forgotten."""
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])


def peaks(path: Path) -> dict[str, Any]:
    """The outcome, by how many MiB memory grew at most, and how much of a processor it took."""
    payload = path.read_bytes()
    forget_peak()
    before, begun = peak_kib(), time.process_time()
    found = outcome(payload)
    seconds = time.process_time() - begun
    return {"outcome": found, "grown_mib": (peak_kib() - before) / 1024, "cpu_seconds": seconds}


if __name__ == "__main__":
    command = {"flips": flips, "batch_flips": batch_flips, "peaks": peaks}[sys.argv[1]]
    for file in map(Path, sys.argv[2:]):
        print(json.dumps({"name": file.stem, **command(file)}), flush=True)
