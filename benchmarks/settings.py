"""A task in, the pipeline that it drains out: the packaged pipeline's settings, in a lake of the task's own."""

from pathlib import Path
from typing import Any

from arrow_ingest.config import PipelineConfig
from benchmarks.task import Task


def pipeline(task: Task) -> PipelineConfig:
    """As `arrow_ingest/defs` packages it: one cast, partitioned by day; everything else is a default."""
    folder = Path(task.folder)
    attributes: dict[str, Any] = {
        "name": "events_arrow",
        "kafka": {"topic": task.topic, "bootstrap_servers": task.bootstrap_servers},
        "lake": {
            "catalog": f"sqlite:{folder / 'catalog.sqlite'}",
            "data_path": str(folder / "data"),
            "table": "events_arrow",
        },
        "columns": {"timestamp": "timestamptz"},
        "partition_by": {"column": "timestamp", "unit": "day", "start": "2026-01-01"},
        "run": {"until": "caught_up", "max_run_seconds": 3600},
    }
    for key, value in task.settings.items():
        before = attributes.get(key)
        attributes[key] = {**before, **value} if isinstance(before, dict) and isinstance(value, dict) else value
    return PipelineConfig.model_validate(attributes)
