"""The lake, opened read-only, to what publisher and checks look at: one snapshot's view, as values."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from arrow_ingest.config import PipelineConfig
from arrow_ingest.lake import lanes, ledger
from arrow_ingest.lake.catalog import catalog_of
from arrow_ingest.lake.late_rows import late_since
from arrow_ingest.lake.ledger import LedgerEntry, PartitionTotal
from arrow_ingest.lake.schema import TableSchema
from arrow_ingest.lake.session import Lake, open_lake
from arrow_ingest.lake.statistics import PartitionFiles, files_by_partition, refused_messages, unresolved_letters
from arrow_ingest.lake.tables import read_table_schema
from arrow_ingest.values import LaneState


@dataclass(frozen=True, slots=True)
class LedgerView:
    """What one snapshot of the lake says of a pipeline; by default, of one that never ran.

    Args:
        since: the commits are those after this snapshot.
        newest: the newest commit of all; None: nothing was ever committed.
        totals: what the ledger holds per table partition.
        files: what the table's files hold per table partition, by the catalog's statistics.
        refused: messages of these commits that the schema policy refused.
        late: rows of these commits that came late, by table partition.
        unresolved: dead letters that were neither replayed nor given up, of all commits, by reason.
    """

    since: int = 0
    lanes: tuple[LaneState, ...] = ()
    commits: tuple[LedgerEntry, ...] = ()
    newest: LedgerEntry | None = None
    totals: Mapping[str | None, PartitionTotal] = field(default_factory=dict)
    files: Mapping[str | None, PartitionFiles] = field(default_factory=dict)
    schema: TableSchema | None = None
    refused: int = 0
    late: Mapping[str, int] = field(default_factory=dict)
    unresolved: Mapping[str, int] = field(default_factory=dict)

    @property
    def table_rows(self) -> dict[str | None, int]:
        """Rows of the table per table partition."""
        return {value: files.rows for value, files in self.files.items()}


def read_view(config: PipelineConfig, since: int = 0) -> LedgerView:
    """Read the lake as it is now.

    Args:
        since: the commits after this snapshot. When the ledger ends before it, this is another lake than the one that
            was published: then all commits.

    Raises:
        CatalogUnavailable: the lake cannot be read, or is being made just now.
    """
    if not catalog_of(config.lake).exists():
        return LedgerView()
    with open_lake(config.lake, read_only=True) as lake, lake.snapshot():
        return _read(lake, config, since)


def _read(lake: Lake, config: PipelineConfig, since: int) -> LedgerView:
    newest = next(iter(ledger.last_commits(lake, config.name, 1)), None)
    if newest is None or newest.snapshot_id < since:
        since = 0
    commits = ledger.commits_since(lake, config.name, since)
    return LedgerView(
        since=since,
        lanes=lanes.read_lanes(lake, config.name),
        commits=commits,
        newest=newest,
        totals=ledger.partition_totals(lake, config.name),
        files=files_by_partition(
            lake,
            config.lake,
            config.partition_by,
            small_below_bytes=int(config.maintenance.merge.small_file_bytes),
        ),
        schema=read_table_schema(lake, config.lake),
        refused=refused_messages(lake, config.lake, since) if any(commit.tally.dead for commit in commits) else 0,
        late=late_since(lake, config.name, since),
        unresolved=unresolved_letters(lake, config.name, config.lake),
    )
