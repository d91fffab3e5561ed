"""Memory of fetch responses: what a drain tells the C library, seen in a process of its own."""

import subprocess
import sys

import pytest

from arrow_ingest import environment

_REUSE = """
import ctypes, resource, sys
from arrow_ingest.pipeline.allocator import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
size, rounds = 16 * 1024 * 1024, 8
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(rounds):
    # Two at a time: glibc learns from the first one that it frees, but then gives the top of the heap back.
    pair = [libc.malloc(size), libc.malloc(size)]
    for address in pair:
        ctypes.memset(address, 1, size)
    for address in reversed(pair):
        libc.free(address)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(*, keeps: bool) -> int:
    command = [sys.executable, "-c", _REUSE, "keep" if keeps else "default"]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def test_a_freed_fetch_response_is_the_memory_of_the_next_one() -> None:
    assert page_faults(keeps=True) < page_faults(keeps=False) / 2


def test_arrow_takes_memory_where_the_drain_keeps_it_unless_somebody_chose(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(environment.ARROW_POOL, raising=False)
    environment.prepare()
    assert environment.variables()[environment.ARROW_POOL] == "system"
    monkeypatch.setenv(environment.ARROW_POOL, "jemalloc")
    environment.prepare()
    assert environment.variables()[environment.ARROW_POOL] == "jemalloc"
