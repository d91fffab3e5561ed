"""A model and table partitions in; those that are due computed, checked and committed, and what became of each out.

Everything of one attempt, which partitions are due and all of their rows, comes from one snapshot of the lake.
"""

import logging
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

from arrow_ingest.errors import LakeNotMade, Replan
from arrow_ingest.lake import ledger
from arrow_ingest.lake.commit import Committed, Committer
from arrow_ingest.lake.engine import QUERY_THREADS
from arrow_ingest.lake.models import state
from arrow_ingest.lake.models.check_sql import counting
from arrow_ingest.lake.models.due import Computed, Why, why
from arrow_ingest.lake.models.lineage import ColumnLineage, lineage
from arrow_ingest.lake.models.replace import PartitionsReplaced, condition, planned_columns
from arrow_ingest.lake.models.stage import StagedPartition, never, prepare, stage
from arrow_ingest.lake.models.windows import read_keys
from arrow_ingest.lake.schema import Column
from arrow_ingest.lake.session import Lake, open_lake
from arrow_ingest.lake.sql import LAKE, in_lake, literal
from arrow_ingest.lake.table_partition import foreign_changes
from arrow_ingest.lake.tables import is_registered, read_table_schema
from arrow_ingest.model_settings import ModelCheck, SqlModel
from arrow_ingest.values import Point, ignore

log = logging.getLogger(__name__)

ATTEMPTS = 5
"""How often partitions are computed that another run keeps on computing at the same time."""


_FORGOTTEN = """
WITH known AS MATERIALIZED (SELECT snapshot_id AS id FROM ducklake_snapshots(?))
SELECT max(id) - 1 FROM known WHERE id > 0 AND id - 1 NOT IN (FROM known)
"""
"""The newest snapshot that is not known any more; they are numbered without a gap."""


@dataclass(frozen=True, slots=True)
class CheckAnswer:
    """How many rows of a table partition fail a check."""

    check: ModelCheck
    value: str
    bad_rows: int

    @property
    def passed(self) -> bool:
        """Whether none does."""
        return not self.bad_rows


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one table partition.

    Args:
        computed: what the lake knows of it now; None: its rows were refused and it was never computed before.
        seconds: that the query and its files took.
        since: the source snapshot that it was computed from before; None: it never was.
    """

    value: str
    why: Why
    computed: Computed | None
    seconds: float = 0.0
    since: int | None = None

    @property
    def is_new(self) -> bool:
        """Whether its rows were computed in this run."""
        return self.why is not Why.CURRENT


@dataclass(frozen=True, slots=True)
class ModelReport:
    """What a run did.

    Args:
        snapshot: that it made; None: nothing was due, or a check refused the rows.
        source_snapshot: of the lake, which all of it was computed from.
        refusals: blocking checks that failed; then nothing was committed.
        schema: the table's columns; none: it is not there yet.
    """

    outcomes: tuple[Outcome, ...]
    source_snapshot: int
    snapshot: int | None = None
    refusals: tuple[CheckAnswer, ...] = ()
    schema: tuple[Column, ...] = ()
    columns: ColumnLineage = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Plan:
    """What one snapshot says: why each partition is due, what was known of it, and its new rows."""

    commit_id: str
    snapshot: int
    why: Mapping[str, Why]
    before: Mapping[str, Computed]
    staged: tuple[StagedPartition, ...]
    seconds: Mapping[str, float]
    refusals: tuple[CheckAnswer, ...]
    schema: tuple[Column, ...]
    columns: ColumnLineage


def compute(
    model: SqlModel,
    values: Iterable[str],
    *,
    run_id: str,
    is_forced: bool = False,
    stop: Callable[[], bool] = never,
    at: Callable[[Point], None] = ignore,
    opens: Callable[..., Lake] = open_lake,
) -> ModelReport:
    """Bring table partitions of a model up to date, all of them in one transaction.

    Args:
        is_forced: also those of which nothing has changed.
        stop: asked now and then before anything is committed; whether to end.
        opens: the lake, for the sessions that write.

    Raises:
        LakeNotMade: the pipeline has no table yet.
        LakeMismatch: the model's table is another one's.
        ModelRefused, StatementRefused: the query, or its rows, are not what the table takes; nothing was changed.
        Stopped: as asked; nothing was changed.
        Replan: other runs computed the same partitions first, all the time.
        CatalogUnavailable, CommitConflict, OutcomeUnknown: as a commit of a lane.
    """
    wanted = tuple(dict.fromkeys(values))
    for attempt in range(1, ATTEMPTS + 1):
        plan = _planned(model, wanted, stop, is_forced=is_forced)
        if plan.refusals or not plan.staged:
            return _report(plan, wanted, plan.before, None)
        at(Point.STAGED)
        try:
            committed, computed = _commit(model, plan, run_id, at, opens)
        except Replan:
            if attempt == ATTEMPTS:
                raise
            log.info("%s: another run was first; what is due is looked up again", model.name)
            continue
        at(Point.COMMITTED)
        return _report(plan, wanted, {**plan.before, **computed}, committed)
    raise AssertionError("the last attempt returns or raises")


def _commit(
    model: SqlModel, plan: _Plan, run_id: str, at: Callable[[Point], None], opens: Callable[..., Lake]
) -> tuple[Committed, dict[str, Computed]]:
    """The staged partitions in one transaction, once; what the lake knows of them then."""
    before = {value: known for value, known in plan.before.items() if plan.why[value] is not Why.CURRENT}
    change = PartitionsReplaced(plan.commit_id, model, plan.staged, before, plan.snapshot, run_id)
    lake = opens(model.pipeline.lake)
    with Committer(
        model.pipeline.lake, session=lake, opens=opens, finds=partial(_landed, name=model.name)
    ) as committer:
        state.ensure(lake, model)
        committed = committer.commit(change, at=at)
    return committed, {row.value: row for row in change.computed(committed.committed_at)}


def check_answers(model: SqlModel, values: Iterable[str]) -> tuple[CheckAnswer, ...]:
    """The answer of every check of the committed rows, a partition at a time.

    Raises:
        LakeNotMade: the model has no table yet.
        StatementRefused: DuckDB refuses a check.
    """
    table = in_lake(model.lake.schema_name, model.lake.table)
    with open_lake(model.pipeline.lake, read_only=True) as lake, lake.snapshot():
        if read_table_schema(lake, model.lake) is None:
            raise LakeNotMade(f"{model.lake.catalog}, table {model.lake.schema_name}.{model.lake.table}")
        prepare(lake, model)
        return tuple(
            _answer(lake, check, value, f"{table} WHERE {condition(model, value)}")
            for value in values
            for check in model.config.checks
        )


def _planned(model: SqlModel, values: tuple[str, ...], stop: Callable[[], bool], *, is_forced: bool) -> _Plan:
    """What is due, and its new rows, by a session of its own that only reads."""
    commit_id = str(uuid.uuid4())
    with open_lake(model.pipeline.lake, read_only=True, threads=QUERY_THREADS) as lake, lake.snapshot():
        source = read_table_schema(lake, model.pipeline.lake)
        if source is None or not is_registered(lake, model.pipeline):
            raise LakeNotMade(f"{model.lake.catalog}, table {model.pipeline.lake.table}")
        prepare(lake, model)
        [(snapshot,)] = lake.execute("SELECT id FROM ducklake_current_snapshot(?)", [LAKE])
        before = state.read(lake, model.name, values) if state.check(lake, model) else {}
        reasons = _reasons(lake, model, values, before, is_forced=is_forced)
        staged: list[StagedPartition] = []
        seconds: dict[str, float] = {}
        for number, value in enumerate(value for value in values if reasons[value] is not Why.CURRENT):
            started = time.monotonic()
            staged.append(stage(lake, model, value, commit_id=commit_id, number=number, stop=stop))
            seconds[value] = time.monotonic() - started
        return _Plan(
            commit_id,
            snapshot,
            reasons,
            before,
            tuple(staged),
            seconds,
            _refusals(lake, model, staged),
            planned_columns(model, read_table_schema(lake, model.lake), [part.schema for part in staged]),
            lineage(lake, model, [column.name for column in source.columns]),
        )


def _reasons(
    lake: Lake, model: SqlModel, values: Iterable[str], before: Mapping[str, Computed], *, is_forced: bool
) -> dict[str, Why]:
    totals = ledger.partition_totals(lake, model.pipeline.name)
    oldest_computed = min((known.source_snapshot for known in before.values()), default=None)
    foreign = () if oldest_computed is None else foreign_changes(lake, model.pipeline, oldest_computed)
    [(forgotten,)] = lake.execute(_FORGOTTEN, [LAKE])
    found = {}
    for value in values:
        read = read_keys(value, model.unit, model.config.reads)
        found[value] = why(
            before.get(value),
            code_version=model.code_version,
            touched_at=max((totals[key].last_snapshot for key in read if key in totals), default=0),
            foreign=foreign,
            forgotten=forgotten or 0,
            is_forced=is_forced,
        )
    return found


def _refusals(lake: Lake, model: SqlModel, staged: Iterable[StagedPartition]) -> tuple[CheckAnswer, ...]:
    """Blocking checks that the staged rows fail: asked of the files, before they are anybody's."""
    answers = (
        _answer(lake, check, part.value, f"read_parquet([{_listed(part)}], hive_partitioning => false)")
        for part in staged
        if part.files
        for check in model.config.checks
        if check.severity == "error"
    )
    return tuple(answer for answer in answers if not answer.passed)


def _listed(part: StagedPartition) -> str:
    return ", ".join(literal(file.path) for file in part.files)


def _answer(lake: Lake, check: ModelCheck, value: str, source: str) -> CheckAnswer:
    [(count,)] = lake.execute(*counting(check, source))
    return CheckAnswer(check, value, int(count))


def _landed(lake: Lake, commit_id: str, *, name: str) -> state.Landed | None:
    return state.landed(lake, name, commit_id)


def _report(
    plan: _Plan, values: tuple[str, ...], known: Mapping[str, Computed], committed: Committed | None
) -> ModelReport:
    outcomes = []
    for value in values:
        since = plan.before[value].source_snapshot if value in plan.before else None
        outcomes.append(Outcome(value, plan.why[value], known.get(value), plan.seconds.get(value, 0.0), since))
    snapshot = None if committed is None else committed.snapshot_id
    return ModelReport(tuple(outcomes), plan.snapshot, snapshot, plan.refusals, plan.schema, plan.columns)
