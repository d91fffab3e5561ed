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

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc, which only Linux has"),
    pytest.mark.timeout(400),  # a demo takes half a minute to start, and one of them is killed five times
]

DEMO = [sys.executable, "-m", "arrow_ingest", "demo"]
DEADLINE_SECONDS = 150.0


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.2)
    return found


def run_once(folder: Path, *options: str) -> tuple[dict[str, Any], str]:
    """The report of a demo that ends by itself, and what it said."""
    command = [*DEMO, "--dir", str(folder), "--once", "--json", "--rate", "0", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
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
    """Rows of the ledger's ingest commits so far, asked as a user would."""
    env = {
        **os.environ,
        "ARROW_INGEST_CATALOG": f"sqlite:{folder / 'catalog.sqlite'}",
        "ARROW_INGEST_DATA_PATH": str(folder / "data"),
    }
    query = "SELECT coalesce(sum(rows), 0)::BIGINT AS n FROM arrow_ingest.commits"
    command = [sys.executable, "-m", "arrow_ingest", "sql", "--json", query]
    done = subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    return int(json.loads(done.stdout)[0]["n"]) if done.returncode == 0 else 0


def test_two_pipelines_with_two_lanes_each_stand_side_by_side(tmp_path: Path) -> None:
    report, _ = run_once(tmp_path, "--batches", "40", "--pipelines", "2", "--lanes", "2")
    assert report["produced_rows"] == report["committed_rows"] == 2 * 40_000
    assert (report["dead_letters"], report["lag"], report["verify"]) == (0, 0, True)
    names = [f"{pipeline}/{part}" for pipeline in ("events_arrow", "orders") for part in range(8)]
    assert report["lag_by_partition"] == dict.fromkeys(names, 0)
    assert report["partitions"] == 2 * 3
    assert report["runs"] >= 2 * 2


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
    report, said_again = run_once(tmp_path, "--batches", "660", "--lanes", "2")  # as one may between two demos
    assert "which an earlier demo had left running" in said_again
    assert "goes on in generation 1" in said_again
    assert not [pid for pid in left_running if Path(f"/proc/{pid}").exists()]
    assert report["produced_rows"] == 660_000
    assert report["committed_rows"] == before + 660_000
    assert (report["dead_letters"], report["lag"], report["verify"]) == (0, 0, True)
    assert report["lag_by_partition"] == {str(partition): 0 for partition in range(8)}
    assert report["partitions"] == 3
    assert report["runs"] >= 1
    assert report["snapshots"] >= 3
    assert report["files"] >= 3
    assert report["bytes_received"] > 600_000_000
    assert report["bytes_copied"] == 0
    assert report["compression_ratio"] > 1
