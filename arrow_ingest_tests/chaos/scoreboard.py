"""pytest's reports in, how many faults of which kind and what they cost out, as one line of JSON, the last one.

A test says what it did through the fixture `score`, or by its mark: ``@pytest.mark.chaos(bombs=1)``. Both come along
with its report, whichever worker ran it.
"""

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

KEYS = (
    *("kills", "unknown_outcomes", "faults", "mutants", "bombs", "contested_commits", "histories"),
    *("lost", "duplicated", "silent", "crashes"),
)
"""What is counted; the last four are the damage, and have to be 0.

``lost`` and ``duplicated`` count rows; ``silent`` faults that were not told by a check, a run's end or its error;
``crashes`` processes that ended as no test made them end.
"""

PROPERTY = "chaos"
Score = Callable[..., None]


@pytest.fixture
def score(record_property: Callable[[str, object], None]) -> Score:
    """``score(kills=45)`` adds to the counts; a test calls it before it asserts, so that failures count too."""

    def add(**counts: int) -> None:
        assert counts.keys() <= set(KEYS), counts
        record_property(PROPERTY, counts)

    return add


class Scoreboard:
    """A plugin that adds up what all tests of a session report."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._rows: dict[str, Counter[str]] = {}

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Take what the mark says."""
        for mark in item.iter_markers(PROPERTY):
            if mark.kwargs:
                item.user_properties.append((PROPERTY, dict(mark.kwargs)))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take what the test says."""
        if report.when != "call":
            return
        row = self._rows.setdefault(report.nodeid.partition("[")[0], Counter())
        row["failed" if report.failed else "passed"] += 1
        for name, counts in report.user_properties:
            if name == PROPERTY and isinstance(counts, dict):
                self._counts.update(counts)
                row.update(counts)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """One row of a Markdown table for each test."""
        terminalreporter.write_line("")
        terminalreporter.write_line("| what | runs | failed | counted |")
        terminalreporter.write_line("|---|---|---|---|")
        for name, row in sorted(self._rows.items()):
            runs, failed = row["passed"] + row["failed"], row["failed"]
            counted = ", ".join(f"{row[key]} {key}" for key in KEYS if key in row)
            terminalreporter.write_line(f"| `{name.rpartition('/')[2]}` | {runs} | {failed} | {counted} |")

    def pytest_unconfigure(self, config: pytest.Config) -> None:
        """The last line."""
        if not hasattr(config, "workerinput"):
            print(json.dumps({key: self._counts[key] for key in KEYS}), flush=True)
