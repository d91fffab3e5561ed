"""The running demo over an old lake, with somebody who takes its alerts, and what came of the day: one line of JSON."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from arrow_ingest_tests.alert_receiver import AlertReceiver, alert_receiver
from arrow_ingest_tests.operate.desk import Desk
from arrow_ingest_tests.operate.old_lake import OLD_DAYS, make_old_lake
from arrow_ingest_tests.ui.conftest import chromium, page, pytest_addoption, shoot
from arrow_ingest_tests.ui.running_demo import DAYS, Node, RunningDemo, running_demo

__all__ = ["chromium", "page", "pytest_addoption", "shoot"]  # fixtures, and an option

OUTCOME = pytest.StashKey[dict[str, object]]()


@pytest.fixture(scope="session")
def alerts() -> Iterator[AlertReceiver]:
    with alert_receiver() as receiver:
        yield receiver


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("operate") / "lake"


@pytest.fixture(scope="session")
def demo(chromium: Browser, folder: Path, alerts: AlertReceiver) -> Iterator[RunningDemo]:
    """The demo, once every day of the old lake and its own are materialised."""

    def is_ready(table: Node) -> bool:
        return bool(table) and int(table["partitionStats"]["numMaterialized"]) >= OLD_DAYS + DAYS

    make_old_lake(folder)
    with running_demo(folder, environ={"ARROW_INGEST_ALERT_URLS": alerts.url}, is_ready=is_ready) as running:
        yield running


@pytest.fixture
def desk(page: object, demo: RunningDemo, folder: Path) -> Desk:
    return Desk(page, demo, folder)  # type: ignore[arg-type]  # playwright's page


@pytest.fixture(scope="session")
def outcome(request: pytest.FixtureRequest) -> dict[str, object]:
    """What the scenario found; printed as the last line."""
    return request.config.stash.setdefault(OUTCOME, {})


def pytest_unconfigure(config: pytest.Config) -> None:
    if (found := config.stash.get(OUTCOME, None)) is not None:
        print(json.dumps(found), flush=True)
