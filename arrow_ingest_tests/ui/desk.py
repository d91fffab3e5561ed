"""A page of the running demo's UI in; clicks where a person would click, out."""

import json
import re
from urllib.parse import quote

from playwright.sync_api import Page, expect

from arrow_ingest_tests.ui.running_demo import RunningDemo, wait_for

LOCATION = "/locations/__repository__@arrow_ingest.definitions"
RUN_SECONDS = 300.0


class Desk:
    """An operator who sits before the UI."""

    def __init__(self, page: Page, demo: RunningDemo) -> None:
        self.page = page
        self.demo = demo

    def reload(self) -> None:
        """Have Dagster read the project again."""
        self.page.goto("/locations")
        self.page.get_by_role("button", name=re.compile("Reload")).first.click()
        expect(self.page.get_by_text(re.compile("reloaded|Updated", re.IGNORECASE)).first).to_be_visible()

    def launch(self, job: str, op: str, **config: object) -> str:
        """Start a job from its launchpad with this config of its op; the id of the run once it has begun."""
        yaml = f"ops:\n  {op}:\n    config: {json.dumps(config)}\n"
        self.page.goto(f"{LOCATION}/jobs/{job}/playground/setup?config={quote(yaml)}")
        launch = self.page.get_by_role("button", name="Launch run")
        expect(launch).to_be_enabled()
        launch.click()
        self.page.wait_for_url(re.compile(r"/runs/[0-9a-f-]{36}"))
        run_id = re.findall(r"/runs/([0-9a-f-]{36})", self.page.url)[0]
        self.page.goto("about:blank")  # the page of a run is drawn anew all the time
        waiting = {"QUEUED", "NOT_STARTED", "STARTING"}
        wait_for(lambda: self.demo.run_status(run_id), lambda seen: seen not in waiting, seconds=RUN_SECONDS)
        return str(run_id)

    def expect_success(self, run_id: str) -> None:
        """Wait until a run has ended, and see on its page that it succeeded."""
        ended = wait_for(
            lambda: self.demo.run_status(run_id),
            lambda seen: seen in {"SUCCESS", "FAILURE", "CANCELED"},
            seconds=RUN_SECONDS,
        )
        assert ended == "SUCCESS", f"{self.demo.address}/runs/{run_id}"
        self.page.goto(f"/runs/{run_id}")
        expect(self.page.get_by_text("Success", exact=True).first).to_be_visible()

    def terminate_drains(self) -> None:
        """End the lane's run on its page: what it holds is committed or read again by the next one."""
        for run in self.demo.runs():
            if run["status"] == "STARTED" and run["jobName"].startswith("drain_"):
                self.page.goto(f"/runs/{run['runId']}")
                self.page.get_by_role("button", name="Terminate").first.click()
                self.page.get_by_role("button", name=re.compile(r"^Terminate 1 run")).click()
                wait_for(
                    lambda run=run: self.demo.run_status(run["runId"]),
                    lambda seen: seen != "STARTED",
                    seconds=RUN_SECONDS,
                )
