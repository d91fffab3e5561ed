"""pytest's reports in, everything that they show out: what tests printed, logged and raised."""

import pytest


class Reported:
    """A plugin that keeps the texts of all reports of a session."""

    def __init__(self) -> None:
        self.texts: list[tuple[str, str]] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep what was captured, and how a failure is shown."""
        shown = [text for _, text in report.sections]
        if report.longrepr is not None:
            shown.append(str(report.longrepr))
        self.texts.append((f"{report.nodeid} ({report.when})", "\n".join(shown)))
