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

from arrow_ingest_tests.ui.old_lake import OLD_DAYS

DAYS = 3
ALL_DAYS = OLD_DAYS + DAYS
MESSAGES_PER_SECOND = 2
"""Of 1,000 rows each: a stream that goes on, on a machine that has the browser to run, too."""

START_SECONDS = 240.0
STOP_SECONDS = 90.0

_TABLE = """{ assetNodeOrError(assetKey: {path: ["lake", "main", "NAME"]}) { ... on AssetNode {
  kinds isMaterializable dependencyKeys { path } partitionStats { numMaterialized numPartitions numFailed }
  assetChecksOrError { ... on AssetChecks { checks { name executionForLatestMaterialization { status } } } }
  assetMaterializations(limit: 400) { partition runId tags { key value } metadataEntries {
    label ... on IntMetadataEntry { intValue } ... on FloatMetadataEntry { floatValue } } }
} } }"""

# Asked again and again while something is waited for: little, so that Dagster has little to do.
_VERSION = """{ assetNodeOrError(assetKey: {path: ["lake", "main", "NAME"]}) { ... on AssetNode {
  assetMaterializations(limit: 1, partitions: ["DAY"]) { tags { key value } } } } }"""

_CHECKS = """{ assetNodeOrError(assetKey: {path: ["lake", "main", "events_arrow"]}) { ... on AssetNode {
  assetChecksOrError { ... on AssetChecks { checks { name executionForLatestMaterialization {
    status evaluation { severity } } } } } } } }"""

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

    def version(self, name: str, day: str) -> str:
        """The newest data version of a table's day; empty: it was never materialised."""
        found = self._ask(_VERSION.replace("NAME", name).replace("DAY", day))["assetNodeOrError"]
        newest = found.get("assetMaterializations", [])
        return pairs(newest[0]["tags"])["dagster/data_version"] if newest else ""

    def said_by(self, check: str) -> str:
        """What a check of the pipeline's table said last: SUCCEEDED, WARN or ERROR; empty: it has no badge now."""
        node = self._ask(_CHECKS)["assetNodeOrError"]
        said = {
            each["name"]: each["executionForLatestMaterialization"] for each in node["assetChecksOrError"]["checks"]
        }
        if not said[check]:
            return ""
        failed = said[check]["status"] == "FAILED"
        return str(said[check]["evaluation"]["severity"] if failed else said[check]["status"])

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


def is_computed(table: Node) -> bool:
    """Whether all days of a table or a model are materialised, and each check has said yes of the newest of them."""
    checks = table.get("assetChecksOrError", {}).get("checks", [])
    executions = [check["executionForLatestMaterialization"] for check in checks]
    return (
        bool(executions)
        and all(execution and execution["status"] == "SUCCEEDED" for execution in executions)
        and int(table["partitionStats"]["numMaterialized"]) >= ALL_DAYS
    )


@contextmanager
def running_demo(folder: Path, *, environ: Mapping[str, str], settings: Mapping[str, str]) -> Iterator[RunningDemo]:
    """Start the demo over the lake in the folder, wait until Dagster has something to show, end it as Ctrl-C does.

    The lake goes on in a new generation. The demo verifies it when it ends; that it finds nothing is asserted here.

    Args:
        environ: on top of this process's own.
        settings: for the pipeline's YAML; written before Dagster, which takes longer to start, has read it.
    """
    log_file = folder.with_suffix(".log")
    command = [sys.executable, "-m", "arrow_ingest", "demo", "--dir", str(folder)]
    command += ["--rate", str(MESSAGES_PER_SECOND), "--days", str(DAYS)]
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            command, env={**os.environ, **environ}, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        demo = RunningDemo(wait_for(lambda: _address(log_file, process), bool, seconds=START_SECONDS))
        write_settings(folder, **settings)
        wait_for(lambda: _table_or_nothing(demo), is_computed, seconds=START_SECONDS)
        yield demo
        process.send_signal(signal.SIGINT)
        assert process.wait(STOP_SECONDS) == 0, log_file.read_text()[-4000:]
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)


def write_settings(folder: Path, **settings: str) -> None:
    """Write top-level settings of the pipeline's YAML anew, at once: a reader sees the old file or the new one."""
    file = folder / "project" / "demo_pipelines" / "defs" / "events_arrow" / "defs.yaml"
    lines = [line for line in file.read_text().splitlines() if line.partition(":")[0].strip() not in settings]
    written = file.with_suffix(".new")
    written.write_text("\n".join([*lines, *(f"  {key}: {value}" for key, value in settings.items())]) + "\n")
    written.replace(file)


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
