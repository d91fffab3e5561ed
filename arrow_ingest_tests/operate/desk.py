"""What an operator has: the UI in a browser, the project's YAML, a producer for the topic, SQL for the lake."""

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
from playwright.sync_api import Page, expect

from arrow_ingest.config import PipelineConfig
from arrow_ingest.demo.broker import PRODUCER_PROPERTIES
from arrow_ingest.lake.session import open_lake
from arrow_ingest.lake.verify import verify
from arrow_ingest.producer.arrow import ArrowProducer
from arrow_ingest_tests.operate.old_lake import pipeline_of
from arrow_ingest_tests.ui.running_demo import RunningDemo, wait_for

LOCATION = "/locations/__repository__@arrow_ingest.definitions"
RUN_SECONDS = 180.0


class Desk:
    """Sits before the running demo; clicks where a person would."""

    def __init__(self, page: Page, demo: RunningDemo, folder: Path) -> None:
        self.page = page
        self._demo = demo
        self._folder = folder
        self.config: PipelineConfig = pipeline_of(folder, _broker_of(folder))

    def send(self, batch: pa.RecordBatch) -> None:
        """Produce one message."""
        servers = {"bootstrap.servers": self.config.kafka.bootstrap_servers, **PRODUCER_PROPERTIES}
        with ArrowProducer(self.config.kafka.topic, servers) as producer:
            producer.send(batch, partition=0)

    def query(self, text: str) -> list[tuple[Any, ...]]:
        """What SQL says of the lake now."""
        with open_lake(self.config.lake, read_only=True) as lake:
            return lake.execute(text)

    def verify(self) -> list[str]:
        """What is wrong with the lake's whole history."""
        with open_lake(self.config.lake, read_only=True) as lake:
            return [str(finding) for finding in verify(lake, self.config).findings]

    def edit(self, **settings: str) -> None:
        """Write top-level settings of the pipeline's YAML anew, and reload the code location in the UI."""
        file = self._folder / "project" / "demo_pipelines" / "defs" / "events_arrow" / "defs.yaml"
        lines = [line for line in file.read_text().splitlines() if line.partition(":")[0].strip() not in settings]
        file.write_text("\n".join([*lines, *(f"  {key}: {value}" for key, value in settings.items())]) + "\n")
        self.page.goto("/locations")
        self.page.get_by_role("button", name=re.compile("Reload")).first.click()
        expect(self.page.get_by_text(re.compile("reloaded|Updated", re.IGNORECASE)).first).to_be_visible()

    def launch(self, job: str, op: str, **config: object) -> str:
        """Start a job from its launchpad with this config of its op; the run's id once it has succeeded."""
        yaml = f"ops:\n  {op}:\n    config: {json.dumps(config)}\n"
        self.page.goto(f"{LOCATION}/jobs/{job}/playground/setup?config={quote(yaml)}")
        launch = self.page.get_by_role("button", name="Launch run")
        expect(launch).to_be_enabled()
        launch.click()
        self.page.wait_for_url(re.compile(r"/runs/[0-9a-f-]{36}"))
        run_id = re.findall(r"/runs/([0-9a-f-]{36})", self.page.url)[0]
        ended = wait_for(
            lambda: self._demo.run_status(run_id),
            lambda seen: seen in {"SUCCESS", "FAILURE", "CANCELED"},
            seconds=RUN_SECONDS,
        )
        assert ended == "SUCCESS", f"{self._demo.address}/runs/{run_id}"
        return str(run_id)

    def terminate_drains(self) -> None:
        """End the lane's run on its page in the UI: what it holds is committed or read again by the next one."""
        for run in self._demo.runs():
            if run["status"] == "STARTED":
                self.page.goto(f"/runs/{run['runId']}")
                self.page.get_by_role("button", name="Terminate").first.click()
                self.page.get_by_role("button", name=re.compile(r"^Terminate 1 run")).click()
                wait_for(
                    lambda run=run: self._demo.run_status(run["runId"]),
                    lambda seen: seen != "STARTED",
                    seconds=RUN_SECONDS,
                )


def _broker_of(folder: Path) -> str:
    """The address that the demo's broker listens on, from its command line."""
    [pid] = [child["pid"] for child in json.loads((folder / "processes.json").read_text()) if child["name"] == "broker"]
    command = (Path("/proc") / str(pid) / "cmdline").read_text()
    return re.findall(r"127\.0\.0\.1:\d+", command)[0]
