"""What the demo shows and reports: plain numbers out of the lake's ledger and the broker's watermarks."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from arrow_ingest import environment
from arrow_ingest.config import PipelineConfig
from arrow_ingest.errors import CatalogUnavailable
from arrow_ingest.lake import lanes, ledger
from arrow_ingest.lake.session import open_lake
from arrow_ingest.values import TopicState


@dataclass(frozen=True, slots=True)
class Committed:
    """What the lake holds of a pipeline since a snapshot, by its ledger; all zero before the first run.

    Args:
        offsets: next offset per Kafka partition.
        partitions: keys of the table partitions that were touched.
    """

    rows: int = 0
    dead_letters: int = 0
    files: int = 0
    bytes_on_disk: int = 0
    bytes_received: int = 0
    bytes_copied: int = 0
    snapshots: int = 0
    last_snapshot: int = 0
    partitions: frozenset[str] = frozenset()
    offsets: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Look:
    """One pipeline at one moment: what its lake holds, then what its topic does."""

    config: PipelineConfig
    committed: Committed
    topic: TopicState

    @property
    def lag_by_partition(self) -> dict[int, int]:
        """Messages behind the end, per Kafka partition."""
        offsets = self.committed.offsets
        return {partition: high - offsets.get(partition, 0) for partition, high in sorted(self.topic.high.items())}

    @property
    def lag(self) -> int:
        """Messages behind the end."""
        return sum(self.lag_by_partition.values())


def lag_by_partition(looks: Sequence[Look]) -> dict[str, int]:
    """Messages behind the end by Kafka partition; where several topics have them, by ``pipeline/partition``."""
    return {
        f"{look.config.name}/{partition}" if len(looks) > 1 else str(partition): behind
        for look in looks
        for partition, behind in look.lag_by_partition.items()
    }


@dataclass(frozen=True, slots=True)
class DemoReport:
    """What a demo did, all its pipelines together.

    ``committed_rows`` was counted by a process of its own; ``partitions`` is what Dagster lists.
    """

    produced_rows: int
    committed_rows: int
    dead_letters: int
    lag: int
    lag_by_partition: Mapping[str, int]
    files: int
    partitions: int
    snapshots: int
    runs: int
    seconds: float
    bytes_received: int
    bytes_copied: int
    bytes_on_disk: int
    compression_ratio: float
    verify: bool

    def as_json(self) -> str:
        """One JSON object."""
        return json.dumps(asdict(self), indent=2)


def committed(config: PipelineConfig, *, since: int) -> Committed:
    """What was committed after snapshot ``since``; a lake that is not there yet holds nothing.

    Raises:
        LakeMismatch, MissingPart: the lake is there and cannot be used.
    """
    try:
        with open_lake(config.lake, read_only=True) as lake, lake.snapshot():
            entries = ledger.commits_since(lake, config.name, since)
            state = lanes.read_lanes(lake, config.name)
    except CatalogUnavailable:
        return Committed()
    touched = [partition for entry in entries for partition in entry.touched]
    return Committed(
        rows=sum(entry.tally.rows for entry in entries),
        dead_letters=sum(entry.tally.dead for entry in entries),
        files=sum(partition.files for partition in touched),
        bytes_on_disk=sum(partition.size_bytes for partition in touched),
        bytes_received=sum(entry.bytes_received for entry in entries),
        bytes_copied=sum(entry.bytes_copied for entry in entries),
        snapshots=len(entries),
        last_snapshot=max((entry.snapshot_id for entry in entries), default=since),
        partitions=frozenset(partition.value for partition in touched if partition.value is not None),
        offsets={partition: offset for lane in state for partition, offset in lane.offsets.items()},
    )


def count_rows(environ: Mapping[str, str], project: Path, config: PipelineConfig) -> int:
    """``count(*)`` of a pipeline's table, by a fresh process that knows nothing of this one."""
    table = f"{config.lake.schema_name}.{config.lake.table}"
    command = [sys.executable, "-m", "arrow_ingest", "sql", "--json", f"FROM {table} SELECT count(*) AS found"]
    env = {**environment.variables(), **environ}
    done = subprocess.run(command, env=env, cwd=project, capture_output=True, text=True, check=True, timeout=120)
    return int(json.loads(done.stdout)[0]["found"])
