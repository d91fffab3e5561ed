"""pytest's reports in, a file with all that they show out: what tests printed, logged and raised."""

from pathlib import Path

import pytest

FILE_NAME = "reported.txt"


class Reported:
    """A plugin that writes the texts of all reports of a session to a file, by whichever worker they came."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._texts: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep what was captured, and how a failure is shown."""
        shown = [text for _, text in report.sections]
        if report.longrepr is not None:
            shown.append(str(report.longrepr))
        self._texts.append("\n".join([f"{report.nodeid} ({report.when})", *shown]))

    def pytest_sessionfinish(self) -> None:
        """Write them down."""
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / FILE_NAME).write_text("\n".join(self._texts), encoding="utf-8", errors="backslashreplace")
