"""A drain's way of using memory in, a C library that keeps what is freed for the next fetch out.

A fetch response is one allocation of up to 16 MiB, freed a moment later. By default glibc maps each anew and unmaps it,
or gives the top of its heap back: on every fetch the kernel then clears thousands of pages (82,000 page faults a
gigabyte instead of 5,000, and a fifth of the CPU that fetching takes). What is kept is bounded by what a drain has in
flight anyway.
"""

import ctypes

MIB = 1024 * 1024

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
"""mallopt(3)'s names."""

MMAP_BYTES = 32 * MIB
"""Allocations from this size on are mapped one by one; glibc takes no larger number."""

KEPT_BYTES = 256 * MIB
"""Free memory at the top of the heap that is not given back."""


def keep_freed_memory() -> bool:
    """Tell glibc, for this whole process; False where the C library is another one, which then does as it likes."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, MMAP_BYTES)) and bool(mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES))
