"""`arrow-ingest demo` as a user starts it, in a process of its own, and what its Dagster answers by GraphQL."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

DAYS = 4
START_SECONDS = 180.0
STOP_SECONDS = 90.0

_TABLE = """{ assetNodeOrError(assetKey: {path: ["lake", "main", "NAME"]}) { ... on AssetNode {
  kinds isMaterializable dependencyKeys { path } partitionStats { numMaterialized numPartitions numFailed }
  assetChecksOrError { ... on AssetChecks { checks { name executionForLatestMaterialization { status } } } }
  assetMaterializations(limit: 400) { partition runId tags { key value } metadataEntries {
    label ... on IntMetadataEntry { intValue } ... on FloatMetadataEntry { floatValue } } }
} } }"""

_RUNS = """{ runsOrError(filter: {tags: [{key: "arrow_ingest/pipeline", value: "events_arrow"}]}) {
  ... on Runs { results { runId jobName status tags { key value } } } } }"""

_SENSOR = """{ sensorOrError(sensorSelector: {repositoryName: "__repository__", sensorName: "drain_events_arrow_sensor",
  repositoryLocationName: "arrow_ingest.definitions"}) { ... on Sensor { sensorState { status } } } }"""

Seen = TypeVar("Seen")
Node = Mapping[str, Any]


class RunningDemo:
    """What a demo's Dagster says. Every method asks anew: the demo goes on while it is looked at."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._host = address.removeprefix("http://")

    def table(self, name: str = "events_arrow") -> Node:
        """The asset node of a table: the pipeline's, or a model's."""
        node: Node = self._ask(_TABLE.replace("NAME", name))["assetNodeOrError"]
        return node

    def runs_of(self, table: Node) -> list[Node]:
        """The runs that materialised a table."""
        ids = {event["runId"] for event in table["assetMaterializations"]}
        asked = " ".join(
            f'r{at}: runOrError(runId: "{run_id}") {{ ... on Run {{ tags {{ key value }} }} }}'
            for at, run_id in enumerate(sorted(ids))
        )
        return list(self._ask(f"{{ {asked} }}").values())

    def runs(self) -> list[Node]:
        """The pipeline's runs, newest first, each with its tags as a dict."""
        return [{**run, "tags": pairs(run["tags"])} for run in self._ask(_RUNS)["runsOrError"]["results"]]

    def sensor_status(self) -> str:
        """Whether the lane sensor is on."""
        return str(self._ask(_SENSOR)["sensorOrError"]["sensorState"]["status"])

    def run_status(self, run_id: str) -> str:
        """How far a run has come."""
        asked = f'{{ runOrError(runId: "{run_id}") {{ ... on Run {{ status }} }} }}'
        return str(self._ask(asked)["runOrError"].get("status"))

    def _ask(self, query: str) -> dict[str, Any]:
        asked = urllib.parse.quote(query)
        with urllib.request.urlopen(f"http://{self._host}/graphql?query={asked}", timeout=30) as answer:
            reply: dict[str, Any] = json.load(answer)
        assert "errors" not in reply, reply["errors"]
        data: dict[str, Any] = reply["data"]
        return data


def pairs(tags: list[dict[str, str]]) -> dict[str, str]:
    """GraphQL's list of tags as a dict."""
    return {tag["key"]: tag["value"] for tag in tags}


def numbers(materialization: Node) -> dict[str, float]:
    """The numeric metadata of a materialisation by label."""
    values = (
        (entry["label"], entry.get("intValue", entry.get("floatValue"))) for entry in materialization["metadataEntries"]
    )
    return {label: value for label, value in values if value is not None}


def wait_for(look: Callable[[], Seen], is_there: Callable[[Seen], bool], *, seconds: float) -> Seen:
    """Look until what is seen is there; fails with what was seen last."""
    deadline = time.monotonic() + seconds
    while not is_there(seen := look()):
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s; seen last: {seen!r:.500}"
        time.sleep(0.5)
    return seen


def is_published(table: Node) -> bool:
    """Whether all days are materialised, every check has its badge, and there is enough to draw lines."""
    checks = table.get("assetChecksOrError", {}).get("checks", [])
    executions = [check["executionForLatestMaterialization"] for check in checks]
    return (
        bool(checks)
        and all(execution and execution["status"] == "SUCCEEDED" for execution in executions)
        and table["partitionStats"]["numMaterialized"] == DAYS
        and len(table["assetMaterializations"]) >= 5 * DAYS
    )


def is_computed(model: Node) -> bool:
    """Whether all days of a model are materialised, and each check has said yes."""
    checks = model.get("assetChecksOrError", {}).get("checks", [])
    executions = [check["executionForLatestMaterialization"] for check in checks]
    return (
        model["partitionStats"]["numMaterialized"] >= DAYS
        and bool(executions)
        and all(execution and execution["status"] == "SUCCEEDED" for execution in executions)
    )


@contextmanager
def running_demo(
    folder: Path, *, environ: Mapping[str, str] | None = None, is_ready: Callable[[Node], bool] = is_published
) -> Iterator[RunningDemo]:
    """Start the demo, wait until Dagster has something to show, and end it as Ctrl-C does.

    The demo verifies its lake when it ends; that it finds nothing is asserted here.

    Args:
        folder: a lake that is there already goes on, in a new generation.
        environ: on top of this process's own.
        is_ready: what the table's asset node has to show first.
    """
    log_file = folder.with_suffix(".log")
    command = [sys.executable, "-m", "arrow_ingest", "demo", "--dir", str(folder)]
    command += ["--batches", "4000", "--rate", "5", "--days", str(DAYS)]
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            command, env={**os.environ, **(environ or {})}, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        demo = RunningDemo(wait_for(lambda: _address(log_file, process), bool, seconds=START_SECONDS))
        wait_for(lambda: _table_or_nothing(demo), is_ready, seconds=START_SECONDS)
        yield demo
        process.send_signal(signal.SIGINT)
        assert process.wait(STOP_SECONDS) == 0, log_file.read_text()[-4000:]
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)


def _address(log_file: Path, process: subprocess.Popen[bytes]) -> str:
    written = log_file.read_text()
    assert process.poll() is None, f"the demo ended by itself:\n{written[-4000:]}"
    found = re.findall(r"http://127\.0\.0\.1:\d+", written)
    return found[-1] if found else ""


def _table_or_nothing(demo: RunningDemo) -> Node:
    """The table, or an empty node while webserver and code server start."""
    try:
        return demo.table()
    except (urllib.error.URLError, OSError):
        return {}
