"""What a measured process is asked to do, and what it answers: both cross the pipe as JSON."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Task:
    """One contender's work.

    Args:
        contender: a name of `benchmarks.contenders.run`.
        topic: preloaded; the contender reads it from the beginning.
        messages: how many messages the topic holds.
        rows: how many rows they hold.
        folder: an empty folder for its lake and files.
        cap_seconds: from the first message on; over it the contender commits what it has and ends.
        settings: over the packaged pipeline's settings, top-level keys.
        options: of the contender itself.
    """

    contender: str
    bootstrap_servers: str
    topic: str
    messages: int
    rows: int
    folder: str
    cap_seconds: float = 3600.0
    settings: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What `to_json` made."""
        return cls(**json.loads(text))


@dataclass(slots=True)
class Work:
    """What a contender has done so far, counted when it is done for good (committed, where it commits)."""

    rows: int = 0
    messages: int = 0
    bytes_received: int = 0
    commits: int = 0
    files: int = 0
    bytes_on_disk: int = 0
    bytes_copied: int = 0
    bytes_cast: int = 0
    commit_seconds: list[float] = field(default_factory=list)
    stage_seconds: list[float] = field(default_factory=list)
    copies_by_cause: dict[str, int] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cost:
    """What the steady part of the work cost the measured process, from its first message to its last commit.

    Args:
        start_seconds: from the process's start to the first message: imports, lake, connection.
        start_cpu_seconds: CPU of the same.
        peak_rss_mib: the largest resident set of the process's whole life (VmHWM).
    """

    seconds: float
    user_seconds: float
    system_seconds: float
    minor_faults: int
    major_faults: int
    voluntary_switches: int
    involuntary_switches: int
    start_seconds: float
    start_cpu_seconds: float
    peak_rss_mib: float

    @property
    def cpu_seconds(self) -> float:
        """User and system."""
        return self.user_seconds + self.system_seconds
