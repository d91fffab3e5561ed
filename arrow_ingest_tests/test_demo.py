"""The demo as a user runs it: what it reports, what it survives, what it leaves."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from arrow_ingest.config import LakeConfig
from arrow_ingest.errors import ArrowIngestError
from arrow_ingest.lake.session import open_lake
from arrow_ingest.lake.sql import own

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc, which only Linux has"),
    pytest.mark.timeout(900),  # a demo takes half a minute to start, and one of them is killed five times
]

DEMO = [sys.executable, "-m", "arrow_ingest", "demo"]
DEADLINE_SECONDS = 150.0


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.5)
    return found


def run_once(folder: Path, *options: str) -> tuple[dict[str, Any], str]:
    """The report of a demo that ends by itself, and what it said."""
    command = [*DEMO, "--dir", str(folder), "--once", "--json", "--rate", "0", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def in_session_of_dagster(folder: Path) -> dict[int, str]:
    """Command lines by pid of what `dagster dev` of this folder has started."""
    state = folder / "processes.json"
    leaders = [entry["pid"] for entry in json.loads(state.read_text())] if state.exists() else []
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            pid = int(entry.name)
            if os.getsid(pid) in leaders:
                found[pid] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (ValueError, OSError):
            continue
    return found


def kill_one(folder: Path, part: str) -> None:
    def matching() -> list[int]:
        return [pid for pid, command in in_session_of_dagster(folder).items() if part in command]

    os.kill(wait_for(matching, part)[0], signal.SIGKILL)


def committed_rows(folder: Path) -> int:
    """Rows of the ledger's ingest commits so far; 0: there is no lake yet."""
    catalog, data = f"sqlite:{folder / 'catalog.sqlite'}", str(folder / "data")
    lake = LakeConfig(catalog=catalog, data_path=data, table="events_arrow")
    try:
        with open_lake(lake, read_only=True) as there:
            [(rows,)] = there.execute(f"SELECT coalesce(sum(rows), 0)::BIGINT FROM {own('commits')}")
    except ArrowIngestError:
        return 0
    return int(rows)


def test_each_part_killed_once_and_then_the_demo_itself_loses_and_repeats_nothing(tmp_path: Path) -> None:
    command = [*DEMO, "--dir", str(tmp_path), "--rate", "4"]
    with (tmp_path / "demo.err").open("wb") as said:
        demo = subprocess.Popen(command, stdout=said, stderr=said, stdin=subprocess.DEVNULL)
    try:
        for part in ("spawn_main", "api grpc", "_daemon run", "dagster_webserver"):
            before = committed_rows(tmp_path)
            wait_for(lambda before=before: committed_rows(tmp_path) > before, f"a commit before {part} is killed")
            kill_one(tmp_path, part)
        left_running = in_session_of_dagster(tmp_path)
    finally:
        demo.kill()
        demo.wait()
    assert left_running
    before = committed_rows(tmp_path)

    # As one may between two demos: another layout of the lanes, and a second pipeline beside the first.
    report, said_again = run_once(tmp_path, "--batches", "200", "--pipelines", "2", "--lanes", "2")
    assert "which an earlier demo had left running" in said_again
    assert "goes on in generation 1" in said_again
    assert not [pid for pid in left_running if Path(f"/proc/{pid}").exists()]
    assert report["produced_rows"] == 2 * 200_000
    assert report["committed_rows"] == before + 2 * 200_000
    assert (report["dead_letters"], report["lag"], report["verify"]) == (0, 0, True)
    names = [f"{pipeline}/{part}" for pipeline in ("events_arrow", "orders") for part in range(8)]
    assert report["lag_by_partition"] == dict.fromkeys(names, 0)
    assert report["partitions"] == 2 * 3
    assert report["runs"] >= 2 * 2
    assert report["snapshots"] >= 2 * 2
    assert report["files"] >= 2 * 3
    assert report["bytes_received"] > 200_000_000
    assert report["bytes_copied"] == 8 * 200_000  # the orders' milliseconds become DuckDB's microseconds, else nothing
    assert report["compression_ratio"] > 1
