"""What the lake's ledger and the broker say to what each asset check answers. Pure: the same for a drain and the UI."""

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from dagster import AssetCheckSeverity as Severity

from arrow_ingest.components.names import Check
from arrow_ingest.config import PipelineConfig
from arrow_ingest.lake.ledger import LedgerEntry, PartitionTotal
from arrow_ingest.lake.maintenance.crowded import is_crowded
from arrow_ingest.lake.statistics import PartitionFiles
from arrow_ingest.pipeline.policy import is_over_budget
from arrow_ingest.values import CommitKind, LaneState, Tally, TopicState

MAX_LAG_MESSAGES = 1_000
"""Lag that is normal between two commits: about one micro-batch of the default size for each of 8 partitions."""

MAX_COMMIT_AGE = timedelta(minutes=2)
"""A lane that has work commits every ``flush.max_age_seconds``; a start-up and a backoff fit in as well."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One check's answer.

    Args:
        listed: counts of what has names of its own, such as days; by a key each.
        partition: the table partition that it is about; None: the pipeline, or a table without partitions.
        is_about_window: it speaks of what happened since the last publication, not of how things stand now. Dagster
            keeps one row per run and check, so such a failure stands until the run ends.
    """

    check: Check
    passed: bool
    says: str
    severity: Severity = Severity.ERROR
    numbers: Mapping[str, int | float | str] = field(default_factory=dict)
    listed: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    partition: str | None = None
    is_about_window: bool = False


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the checks of the pipeline as a whole look at, read from one snapshot of the lake.

    Args:
        topic: what the broker says; None: it did not answer in time.
        commits: the ledger since the last publication (a check run alone: the whole ledger), ascending by snapshot.
        last_commit_at: when the newest commit of all landed; None: there is none.
        added_columns: columns that the table has and the last publication did not show.
        refused: dead letters of these commits that the schema policy refused.
        declared: the table partitions that Dagster knows.
        unresolved: dead letters of all commits that were neither replayed nor given up, by reason.
    """

    now: datetime
    lanes: tuple[LaneState, ...]
    topic: TopicState | None
    commits: tuple[LedgerEntry, ...]
    last_commit_at: datetime | None
    added_columns: tuple[str, ...]
    refused: int
    declared: AbstractSet[str | None]
    unresolved: Mapping[str, int] = field(default_factory=dict)

    @property
    def tally(self) -> Tally:
        """Messages that these commits read, and their rows; what a replay brought back was read before."""
        read = (commit.tally for commit in self.commits if commit.kind is not CommitKind.REPLAY)
        return sum(read, Tally())


def pipeline_verdicts(config: PipelineConfig, evidence: Evidence) -> Iterator[Verdict]:
    """The answer of every check that looks at the pipeline as a whole."""
    yield offsets_contiguous(evidence.commits, evidence.lanes)
    yield not_suspended(evidence.lanes)
    yield dead_letters(config, evidence.tally, evidence.unresolved)
    yield lag(evidence.topic, evidence.lanes)
    yield freshness(evidence)
    yield schema_drift(evidence.added_columns, evidence.refused)
    yield out_of_range_days(evidence.commits, evidence.declared)


def offsets_contiguous(commits: Iterable[LedgerEntry], lanes: Iterable[LaneState]) -> Verdict:
    """Ranges join up per generation and partition and end at the stored offset; messages = with rows + empty + dead."""
    ends: dict[tuple[int, int], int] = {}
    breaks: list[str] = []
    for commit in commits:
        if commit.tally.rows < (with_rows := commit.tally.messages - commit.tally.empty - commit.tally.dead):
            breaks.append(f"commit {commit.commit_id}: {with_rows} messages, but {commit.tally.rows} rows")
        for part in commit.ranges:
            key = (commit.generation, part.partition)
            if (end := ends.get(key, part.start)) != part.start:
                breaks.append(f"partition {part.partition}: {part.start} follows {end} (snapshot {commit.snapshot_id})")
            ends[key] = part.stop
    for lane in lanes:
        for partition, stored in lane.offsets.items():
            if (end := ends.get((lane.generation, partition), stored)) != stored:
                breaks.append(f"partition {partition}: the ledger ends at {end}, the lane's row at {stored}")
    says = "; ".join(breaks[:5]) if breaks else "offset ranges join up and end at the stored offsets"
    return Verdict(Check.OFFSETS_CONTIGUOUS, not breaks, says, numbers={"breaks": len(breaks)}, is_about_window=True)


def not_suspended(lanes: Iterable[LaneState]) -> Verdict:
    """No lane waits for an operator."""
    suspended = [lane for lane in lanes if lane.suspended is not None]
    says = "; ".join(f"lane {lane.lane} is suspended ({lane.suspended}): {lane.reason}" for lane in suspended)
    return Verdict(
        Check.NOT_SUSPENDED, not suspended, says or "no lane is suspended", numbers={"suspended": len(suspended)}
    )


def dead_letters(config: PipelineConfig, tally: Tally, unresolved: Mapping[str, int]) -> Verdict:
    """No dead letter waits for a replay or to be given up; an error if the window's are over the budget.

    Args:
        tally: of the window.
        unresolved: of all times, by reason.
    """
    share = tally.dead / tally.messages if tally.messages else 0.0
    waiting = sum(unresolved.values())
    listed = ", ".join(f"{count} {reason}" for reason, count in sorted(unresolved.items()))
    window = f"{tally.dead} of the {tally.messages} messages since the last publication"
    return Verdict(
        Check.DEAD_LETTERS,
        waiting == 0,
        f"{waiting} dead letters wait ({listed}), {window}" if waiting else "no dead letter waits",
        Severity.ERROR if is_over_budget(config.dead_letters, tally) else Severity.WARN,
        numbers={"dead_letters": tally.dead, "dead_letter_share": share, "unresolved": waiting},
        listed={"by_reason": dict(unresolved)} if waiting else {},
    )


def lag_by_partition(topic: TopicState, lanes: Iterable[LaneState]) -> dict[int, int]:
    """Messages that the lake does not hold yet: from the stored offsets to the end of the log, per partition."""
    stored = {partition: offset for lane in lanes for partition, offset in lane.offsets.items()}
    return {p: max(0, topic.high[p] - stored.get(p, topic.low[p])) for p in topic.partitions}


def lag(topic: TopicState | None, lanes: Iterable[LaneState]) -> Verdict:
    """The lake is not far behind the log."""
    if topic is None:
        return Verdict(Check.LAG, passed=False, says="the broker did not answer", severity=Severity.WARN)
    behind = sum(lag_by_partition(topic, lanes).values())
    return Verdict(
        Check.LAG, behind <= MAX_LAG_MESSAGES, f"{behind} messages behind", Severity.WARN, numbers={"lag": behind}
    )


def freshness(evidence: Evidence) -> Verdict:
    """A pipeline that has work has committed lately; one without work is fresh (FACTS: a quiet topic looks stale)."""
    if evidence.topic is None:
        says = "unknown: the broker did not answer"
        return Verdict(Check.FRESHNESS, passed=True, says=says, severity=Severity.WARN)
    behind = sum(lag_by_partition(evidence.topic, evidence.lanes).values())
    if evidence.last_commit_at is None or not behind:
        says = f"{behind} messages wait for the first commit" if behind else "nothing waits to be committed"
        return Verdict(Check.FRESHNESS, passed=True, says=says, severity=Severity.WARN)
    age = evidence.now - evidence.last_commit_at
    seconds = round(age.total_seconds(), 1)
    says = f"{behind} messages wait, the last commit was {seconds:.0f} s ago"
    return Verdict(
        Check.FRESHNESS, age <= MAX_COMMIT_AGE, says, Severity.WARN, numbers={"seconds_since_commit": seconds}
    )


def schema_drift(added_columns: tuple[str, ...], refused: int) -> Verdict:
    """Producers send what the table already had."""
    parts = [f"added: {', '.join(added_columns)}"] if added_columns else []
    parts += [f"{refused} messages refused"] if refused else []
    return Verdict(
        Check.SCHEMA_DRIFT,
        not parts,
        "; ".join(parts) or "no column was added or refused",
        Severity.WARN,
        numbers={"columns_added": len(added_columns), "messages_refused": refused},
        is_about_window=True,
    )


def out_of_range_days(commits: Iterable[LedgerEntry], declared: AbstractSet[str | None]) -> Verdict:
    """Rows lie in partitions that Dagster knows. Others are in the lake all the same; nobody is shown them here."""
    rows: dict[str, int] = {}
    for commit in commits:
        for touched in commit.touched:
            if touched.value not in declared:
                day = touched.value or "NULL"
                rows[day] = rows.get(day, 0) + touched.rows
    listed = ", ".join(f"{day}: {count} rows" for day, count in sorted(rows.items())[:10])
    return Verdict(
        Check.OUT_OF_RANGE_DAYS,
        not rows,
        f"outside the declared partitions: {listed}" if rows else "all rows lie in declared partitions",
        Severity.WARN,
        numbers={"rows_out_of_range": sum(rows.values()), "days_out_of_range": len(rows)},
        listed={"rows_by_day": rows} if rows else {},
        is_about_window=True,
    )


def rows_accounted_for(
    value: str | None, totals: Mapping[str | None, PartitionTotal], table_rows: Mapping[str | None, int]
) -> Verdict:
    """The table partition holds as many rows as the ledger says."""
    found, expected = table_rows.get(value, 0), totals[value].rows if value in totals else 0
    return Verdict(
        Check.ROWS_ACCOUNTED_FOR,
        found == expected,
        f"{found} rows in the table, {expected} in the ledger",
        numbers={"rows_in_table": found, "rows_in_ledger": expected},
        partition=value,
    )


def late_rows(value: str | None, late: Mapping[str, int]) -> Verdict:
    """No row came long after the table partition had ended: what was computed from it is still true.

    Args:
        late: rows that came late, by table partition.
    """
    rows = late.get(value, 0) if value is not None else 0
    return Verdict(
        Check.LATE_ROWS,
        rows == 0,
        f"{rows} rows came late, and the partition was materialised again" if rows else "no row came late",
        Severity.WARN,
        numbers={"late_rows": rows},
        partition=value,
        is_about_window=True,
    )


def small_files(
    config: PipelineConfig, value: str | None, files: Mapping[str | None, PartitionFiles], now: datetime
) -> Verdict:
    """The table partition has few small files, or maintenance has not had its turn yet."""
    found = files.get(value, PartitionFiles(0, 0, 0))
    passed = not is_crowded(config, value, found.small_files, now)
    says = f"{found.small_files} of {found.files} files are small"
    if not passed:
        says += f": `arrow-ingest maintain {config.name}` merges them"
    elif found.small_files > config.maintenance.merge.warn_files:
        says += ", and will be merged when the time that they are of is over"
    return Verdict(
        Check.SMALL_FILES,
        passed,
        says,
        Severity.WARN,
        numbers={"files": found.files, "small_files": found.small_files},
        partition=value,
    )
