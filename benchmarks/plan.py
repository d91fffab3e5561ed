"""What a short and a full run measure: all numbers of rows, seconds and levels stand here."""

from dataclasses import dataclass

SCENARIOS = ("throughput", "latency", "growth", "variations", "overheads")
ON_DEMAND = ("trades",)
"""Run only when they are named."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One run of the benchmarks.

    Args:
        cap_seconds: a contender ends so long after its first message and is rated on what it did.
        flush_ages: seconds of the flush age and of the steady stream.
        levels: files at which a commit is measured.
        snapshots: snapshots at which it is measured once more; 0: left out.
        postgres: whether growth is measured on PostgreSQL too.
        varied_rows: rows of each variation, and of the lanes' topic; 0: left out.
        backlogs: rows of the backlogs.
    """

    name: str
    rows: int
    cap_seconds: float
    flush_ages: tuple[tuple[float, float], ...]
    levels: tuple[int, ...]
    verify_up_to: int
    snapshots: int = 0
    postgres: bool = False
    varied_rows: int = 0
    backlogs: tuple[int, ...] = ()
    lanes: tuple[int, ...] = ()


SHORT = Plan("short", 400_000, 15.0, ((1.0, 12.0),), (10, 1_000, 10_000), verify_up_to=1_000)
FULL = Plan(
    "full",
    2_000_000,
    60.0,
    ((1.0, 30.0), (5.0, 60.0), (30.0, 150.0)),
    (10, 1_000, 10_000),
    verify_up_to=20_000,
    snapshots=50_000,
    postgres=True,
    varied_rows=400_000,
    backlogs=(1_000_000, 10_000_000),
    lanes=(1, 2, 4),
)
