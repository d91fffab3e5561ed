"""Fixtures of the UI's tests: chromium, a page in it, one running demo for all of them, who is told of its alerts."""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from arrow_ingest_tests.alert_receiver import AlertReceiver, alert_receiver
from arrow_ingest_tests.ui.backstage import Backstage
from arrow_ingest_tests.ui.desk import Desk
from arrow_ingest_tests.ui.old_lake import make_old_lake
from arrow_ingest_tests.ui.running_demo import RunningDemo, running_demo

WAIT_MS = 60_000
"""How long a text may take to show: the UI asks for its data every few seconds, and a busy machine draws late."""

# Offline and alone: nothing of the browser's own goes to the network.
CHROMIUM_FLAGS = [
    *("--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]

LIMIT_ROWS = 1_200
"""The producer's messages have 1,000 rows."""

SETTINGS = {
    # A run that is not terminated is followed by another one soon, and no message waits long.
    "run": "{max_run_seconds: 120}",
    "flush": "{max_age_seconds: 5}",
    "limits": f"{{max_rows: {LIMIT_ROWS}}}",
}
"""The pipeline's YAML, beside the packaged one."""

OUTCOME = pytest.StashKey[dict[str, object]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--screenshots", type=Path, help="folder for the pictures, for example docs/images")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Debian's chromium, headless; without one the tests skip, but fail in CI."""
    executable = shutil.which("chromium")
    if executable is None:
        reason = "chromium is not installed; on Debian and Ubuntu: apt-get install chromium"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    expect.set_options(timeout=WAIT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def alerts() -> Iterator[AlertReceiver]:
    with alert_receiver() as receiver:
        yield receiver


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "lake"


@pytest.fixture(scope="session")
def demo(chromium: Browser, folder: Path, alerts: AlertReceiver) -> Iterator[RunningDemo]:
    """One demo for all tests, over an old lake; started only where there is a browser to look at it."""
    make_old_lake(folder)
    with running_demo(folder, environ={"ARROW_INGEST_ALERT_URLS": alerts.url}, settings=SETTINGS) as running:
        yield running


@pytest.fixture
def page(chromium: Browser, demo: RunningDemo) -> Iterator[Page]:
    """A fresh page whose paths begin at the demo's address."""
    context = chromium.new_context(
        base_url=demo.address, viewport={"width": 1440, "height": 900}, timezone_id="UTC", locale="en-US"
    )
    context.set_default_timeout(WAIT_MS)
    yield context.new_page()
    context.close()


@pytest.fixture
def desk(page: Page, demo: RunningDemo) -> Desk:
    return Desk(page, demo)


@pytest.fixture(scope="session")
def backstage(demo: RunningDemo, folder: Path) -> Backstage:
    return Backstage(folder)


@pytest.fixture
def shoot(page: Page, request: pytest.FixtureRequest) -> Callable[[str], None]:
    """``shoot(name)`` writes ``name``.png once nothing moves any more, or what there is after half a minute.

    Two pictures in a row are the same then. A model that is being computed turns its wheel for as long as that takes.
    Without the option `--screenshots` nobody waits for pictures.
    """
    folder: Path | None = request.config.getoption("--screenshots")

    def write(name: str) -> None:
        if folder is None:
            return
        page.mouse.move(0, 0)
        before, newest, deadline = b"", page.screenshot(animations="disabled"), time.monotonic() + 30
        while before != newest and time.monotonic() < deadline:
            time.sleep(0.5)
            before, newest = newest, page.screenshot(animations="disabled")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.png").write_bytes(newest)

    return write


@pytest.fixture(scope="session")
def outcome(request: pytest.FixtureRequest) -> dict[str, object]:
    """What the operator's day came to; printed as the last line."""
    return request.config.stash.setdefault(OUTCOME, {})


def pytest_unconfigure(config: pytest.Config) -> None:
    if (found := config.stash.get(OUTCOME, None)) is not None:
        print(json.dumps(found), flush=True)
