"""Fixtures of the UI's tests: chromium, a page in it, and one running demo for all of them."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from arrow_ingest_tests.ui.running_demo import RunningDemo, running_demo

WAIT_MS = 45_000
"""How long a text may take to show: the UI asks for its data every few seconds, and a busy machine draws late."""

# Offline and alone: nothing of the browser's own goes to the network.
CHROMIUM_FLAGS = [
    *("--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]


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
def demo(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDemo]:
    """One demo for all tests, started only where there is a browser to look at it."""
    with running_demo(tmp_path_factory.mktemp("demo") / "lake") as running:
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
def shoot(page: Page, request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], None]:
    """``shoot(name)`` writes ``name``.png once nothing moves any more, or what there is after half a minute.

    Two pictures in a row are the same then. A model that is being computed turns its wheel for as long as that takes.
    """
    folder: Path = request.config.getoption("--screenshots") or tmp_path

    def write(name: str) -> None:
        page.mouse.move(0, 0)
        before, newest, deadline = b"", page.screenshot(animations="disabled"), time.monotonic() + 30
        while before != newest and time.monotonic() < deadline:
            time.sleep(0.5)
            before, newest = newest, page.screenshot(animations="disabled")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.png").write_bytes(newest)

    return write
