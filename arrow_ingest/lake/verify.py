"""A lake in, a report out: nothing that was read from the log is missing, and nothing is there twice.

Everything is read from one snapshot, without a lock: a drain may go on meanwhile. Nothing is written, not even how far
a verification came: the report's ``snapshot`` says it, and ``since`` goes on from there.
"""

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence

from arrow_ingest.config import PipelineConfig
from arrow_ingest.lake import lanes, ledger, letter_events
from arrow_ingest.lake.accounting import check_foreign_rows, check_rows
from arrow_ingest.lake.continuity import check_ledger, check_topic
from arrow_ingest.lake.file_check import (
    CatalogFile,
    check_content,
    check_presence,
    read_files,
    read_files_of_deletions,
)
from arrow_ingest.lake.findings import Code, Finding, Severity, VerifyReport
from arrow_ingest.lake.ledger import LedgerEntry
from arrow_ingest.lake.letter_events import Span
from arrow_ingest.lake.session import Lake
from arrow_ingest.lake.sql import LAKE, in_lake
from arrow_ingest.lake.store import Store
from arrow_ingest.lake.tables import read_table_schema
from arrow_ingest.values import CommitKind, Tally, TopicState


def verify(
    lake: Lake,
    config: PipelineConfig,
    *,
    topic: Callable[[], TopicState] | None = None,
    since: int = 0,
    sample: float = 1.0,
    full: bool = False,
    strict: bool = False,
) -> VerifyReport:
    """Prove the pipeline's ledger, table, dead letters and files against each other; a session that only reads will do.

    The ledger, which is small, and the presence of files are always checked as a whole. Rows that others deleted or
    added are warnings, with the snapshot and its author.

    Args:
        topic: asks the broker, after the snapshot is taken: a drain that goes on must not seem to be ahead of the log.
        since: leave out what came with this snapshot or before. Rows of others are looked for only from 0 on.
        sample: the share of commits and of files' contents to look at, chosen anew with each snapshot.
        full: decode every page of every file, instead of reading footers and the columns that name rows.
        strict: warnings count as errors.

    Raises:
        CatalogUnavailable, ConfigError: catalog or data cannot be read; what ``topic`` raises besides.
    """
    with lake.snapshot():
        [(snapshot,)] = lake.execute("SELECT id FROM ducklake_current_snapshot(?)", [LAKE])
        entries = ledger.commits_since(lake, config.name, 0)
        spans = letter_events.read_spans(lake, config.name)
        held = lanes.read_lanes(lake, config.name)
        findings = [*check_ledger(entries, held), *(check_topic(held, topic()) if topic is not None else ())]

        def is_wanted(name: str, from_snapshot: int) -> bool:
            return from_snapshot > since and is_sampled(f"{snapshot}/{name}", sample)

        files = read_files(lake, config.lake, snapshot=snapshot)
        wanted = [file for file in files if is_wanted(file.path, file.since_snapshot)]
        deletions = read_files_of_deletions(lake, config.lake, snapshot=snapshot)
        findings += check_presence(lake.store, deletions)
        findings += _check_files(lake.store, files, wanted, full=full)
        commits = [entry for entry in entries if is_wanted(entry.commit_id, entry.snapshot_id)]
        if not any(finding.code in (Code.FILE_MISSING, Code.FILE_UNREADABLE) for finding in findings):
            findings += _check_table(lake, config, commits, spans, is_whole=len(commits) == len(entries))
    is_ok = not any(strict or finding.severity is Severity.ERROR for finding in findings)
    return VerifyReport(is_ok, tuple(findings), _numbers(snapshot, commits, files))


def is_sampled(name: str, share: float) -> bool:
    """Whether a name is among the share of all names; the same answer whenever it is asked.

    >>> is_sampled("a", 1.0), is_sampled("a", 0.0), sum(is_sampled(str(i), 0.25) for i in range(1_000))
    (True, False, 274)
    """
    return zlib.crc32(name.encode()) < share * 2**32


def _check_files(
    store: Store, files: Sequence[CatalogFile], wanted: Iterable[CatalogFile], *, full: bool
) -> list[Finding]:
    findings = list(check_presence(store, files))
    if not {finding.code for finding in findings} & {Code.FILE_MISSING, Code.FILE_UNREADABLE}:
        findings += [found for file in wanted for found in check_content(store, file, full=full)]
    return findings


def _check_table(
    lake: Lake, config: PipelineConfig, commits: Sequence[LedgerEntry], spans: Sequence[Span], *, is_whole: bool
) -> Iterator[Finding]:
    """Count the table's rows; DuckDB reads all of its files, so none may be missing."""
    has_table = read_table_schema(lake, config.lake) is not None
    findings = list(check_rows(lake, config.lake, commits, spans, has_table=has_table))
    yield from findings
    if is_whole and has_table:
        table = in_lake(config.lake.schema_name, config.lake.table)
        [(rows,)] = lake.execute(f"SELECT count(*) FROM {table}")  # from the catalog's statistics
        if findings or rows != sum(entry.tally.rows for entry in commits):
            yield from check_foreign_rows(lake, config.lake, commits)


def _numbers(snapshot: int, commits: Iterable[LedgerEntry], files: Sequence[CatalogFile]) -> dict[str, int]:
    """So that messages = with rows + empty + dead letters, whatever was replayed."""
    commits = tuple(commits)
    tally = sum((entry.tally for entry in commits), Tally())
    replayed = sum(entry.tally.messages for entry in commits if entry.kind is CommitKind.REPLAY)
    return {
        "snapshot": snapshot,
        "commits": sum(entry.commits for entry in commits),
        "messages": tally.messages - replayed,
        "rows": tally.rows,
        "empty": tally.empty,
        "dead_letters": max(0, tally.dead - replayed),
        "replayed": replayed,
        "files": len(files),
        "bytes": sum(file.size_bytes for file in files),
    }
