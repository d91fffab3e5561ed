"""What was measured in, `benchmarks/results/latest.json` out, with the machine and the versions it was measured on."""

import json
import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

FOLDER = Path(__file__).parent / "results"
LATEST = FOLDER / "latest.json"

_PACKAGES = ("pyarrow", "duckdb", "confluent-kafka", "dagster", "orjson", "arrow-ingest")


def machine() -> dict[str, Any]:
    """Cores, memory, kernel, and how busy the machine was with other things when this began."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cores": os.cpu_count(),
        "memory_gib": round(pages / 2**30, 1),
        "processor": _processor(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "load_before": round(os.getloadavg()[0], 2),
    }


def versions() -> dict[str, str]:
    """Python and what does the work."""
    return {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}


def header(mode: str) -> dict[str, Any]:
    """How every result begins."""
    return {"at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", "mode": mode, "machine": machine(), "versions": versions()}


def write(results: Mapping[str, Any]) -> Path:
    """Keep the results under their time and as the latest ones, which scenarios that were left out stay in."""
    FOLDER.mkdir(exist_ok=True)
    text = json.dumps(results, indent=1) + "\n"
    stamp = str(results["at"]).replace(":", "").replace("-", "")
    (FOLDER / f"{stamp}.json").write_text(text)
    LATEST.write_text(text)
    return LATEST


def read(file: Path = LATEST) -> dict[str, Any]:
    """What `write` wrote."""
    return cast("dict[str, Any]", json.loads(file.read_text()))


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
