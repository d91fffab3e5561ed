"""Passwords and keys for servers that we start ourselves: random, and all of them begin alike.

So a test can look for them in everything that a run of ours has written, without a list of them.
"""

import secrets

PREFIX = "stack-secret-"


def new_secret() -> str:
    """A secret of its own; letters, digits and dashes only, which every server and every shell takes."""
    return f"{PREFIX}{secrets.token_hex(16)}"
