"""A process that reads other people's data in, one that leaves less of it lying about out.

Memory holds payloads and passwords, and so does a core dump. What is written (staged files, what DuckDB spills,
exported letters) is nobody's business but the user's and the group's.
"""

import os
import resource

_OTHERS = 0o007
"""Rights of those who are neither the user nor of the group. The group may be who reads the lake."""


def keep_private() -> None:
    """Write no core dump, and no file that everybody on this machine may read; for this process and its children."""
    write_no_core()
    before = os.umask(0o077)  # it can only be read by setting it, and other threads may write meanwhile
    os.umask(before | _OTHERS)


def write_no_core() -> None:
    """Write no core dump, whatever the shell allowed."""
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, most))
