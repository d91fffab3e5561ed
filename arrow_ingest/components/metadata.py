"""Ledger numbers to Dagster metadata. The UI plots numbers by key, so keys stay as they are."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import dagster as dg

from arrow_ingest.components.publication import Publication
from arrow_ingest.config import PipelineConfig
from arrow_ingest.lake.ledger import LedgerEntry, PartitionTotal
from arrow_ingest.lake.sql import in_lake, in_partition
from arrow_ingest.values import OffsetRange, Receipt

PUBLISHED_THROUGH = "published_through"
"""Every table partition whose newest snapshot is at most this one has been published."""

COLUMN_SCHEMA = "dagster/column_schema"

MB = 1_000_000


@dataclass(frozen=True, slots=True)
class WindowNumbers:
    """What this run did since it last published; for plots only.

    Args:
        sums: stand on the window's last materialisation alone, so that sums over events stay right.
        gauges: stand on each, so that a plot of them is a line.
    """

    sums: Mapping[str, float] = field(default_factory=dict)
    gauges: Mapping[str, float] = field(default_factory=dict)


def window_numbers(receipts: Sequence[Receipt], *, seconds: float, lag: int | None) -> WindowNumbers:
    """The numbers of a window.

    Args:
        seconds: its wall clock.
        lag: messages behind the end of the log; None: the broker cannot be asked.
    """
    gauges: dict[str, float] = {} if lag is None else {"lag": lag}
    if not receipts:
        return WindowNumbers(gauges=gauges)
    received = sum(receipt.bytes_received for receipt in receipts)
    gauges["mb_per_second"] = round(received / MB / max(seconds, 0.001), 3)
    gauges["commit_ms"] = round(1000 * sum(receipt.commit_seconds for receipt in receipts) / len(receipts), 1)
    sums = {
        "bytes_received": received,
        "bytes_copied": sum(receipt.copies.copied_bytes for receipt in receipts),
        "bytes_cast": sum(receipt.copies.cast_bytes for receipt in receipts),
    }
    return WindowNumbers(sums, gauges)


def partition_metadata(
    config: PipelineConfig, publication: Publication, total: PartitionTotal | None
) -> dict[str, dg.MetadataValue | dg.TableSchema | dg.TableColumnLineage | int | float]:
    """What the ledger says of one table partition: ``rows`` and ``files`` of the window, counts and sizes of it all.

    Args:
        total: all that the ledger holds of the partition; None: nothing.
    """
    value, commits, snapshot = publication.value, publication.commits, publication.version
    touched = [part for commit in commits for part in commit.touched if part.value == value]
    rows, size = (total.rows, total.size_bytes) if total else (0, 0)
    count_key = "dagster/row_count" if config.partition_by is None else "dagster/partition_row_count"
    return {
        "rows": sum(part.rows for part in touched),
        "files": sum(part.files for part in touched),
        "snapshot": snapshot,
        "offsets": dg.MetadataValue.json(offsets_text(commits)),
        "time_travel": dg.MetadataValue.md(f"```sql\n{time_travel_query(config, value, snapshot)}\n```"),
        count_key: rows,
        "dagster/size_bytes": size,
    }


def offsets_text(commits: Iterable[LedgerEntry]) -> dict[str, str]:
    """Kafka offsets that the commits took, merged: generation and partition to ``[start, stop)``."""
    merged: dict[tuple[int, int], OffsetRange] = {}
    for commit in commits:
        for part in commit.ranges:
            key = (commit.generation, part.partition)
            known = merged.get(key, part)
            merged[key] = OffsetRange(part.partition, min(known.start, part.start), max(known.stop, part.stop))
    return {f"{key[0]}/{key[1]}": f"[{part.start}, {part.stop})" for key, part in sorted(merged.items())}


def time_travel_query(config: PipelineConfig, value: str | None, snapshot: int) -> str:
    """SQL that shows a table partition as it was at a snapshot, the lake attached as ``lake``. Shown, never run."""
    parts = ["SELECT *", f"FROM {in_lake(config.lake.schema_name, config.lake.table)} AT (VERSION => {snapshot})"]
    if config.partition_by is not None and value is not None:
        parts.append(f"WHERE {in_partition(config.partition_by, value)}")
    return "\n".join(parts) + ";"
