"""SQL models over a real lake: what is computed, what is not, and what a run that is cut off or overtaken leaves."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from arrow_ingest.errors import CatalogUnavailable, LakeMismatch, ModelRefused, Replan, StatementRefused, Stopped
from arrow_ingest.lake.dropping import drop
from arrow_ingest.lake.maintenance.run import maintain
from arrow_ingest.lake.models import state
from arrow_ingest.lake.models.due import Why
from arrow_ingest.lake.models.run import ModelReport, check_answers, compute
from arrow_ingest.lake.session import Lake, open_lake
from arrow_ingest.maintenance_settings import Step
from arrow_ingest.model_settings import SqlModel
from arrow_ingest.values import Point
from arrow_ingest_tests.model_lake import ModelLake

FIRST, SECOND, THIRD = "2026-11-03", "2026-11-04", "2026-11-05"
DAYS = (FIRST, SECOND, THIRD)


@pytest.fixture
def filled(tmp_path: Path, catalog: str) -> ModelLake:
    """Three days of three rows each, on either catalog."""
    made = ModelLake(tmp_path, catalog)
    made.commit(*DAYS)
    return made


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> ModelLake:
    """The same, for what is refused: nobody changes it."""
    made = ModelLake(tmp_path_factory.mktemp("untouched"))
    made.commit(*DAYS)
    return made


@pytest.fixture
def local(tmp_path: Path) -> ModelLake:
    """The same, where the catalog does not matter."""
    made = ModelLake(tmp_path)
    made.commit(*DAYS)
    return made


def run(model: SqlModel, *days: str, **arguments: Any) -> ModelReport:
    return compute(model, days, run_id="run", **arguments)


def reasons(report: ModelReport) -> list[Why]:
    return [outcome.why for outcome in report.outcomes]


def daily(lake: ModelLake) -> dict[str, int]:
    """Events by day, as the model's table has them."""
    return {
        str(day): events for day, events in lake.query("SELECT day, sum(events)::INT FROM lake.main.daily GROUP BY 1")
    }


def live_files(lake: ModelLake) -> list[str]:
    return [file for (file,) in lake.query("SELECT data_file FROM ducklake_list_files('lake', 'daily')")]


def test_only_touched_days_are_computed_again_and_each_stays_one_file(filled: ModelLake) -> None:
    model = filled.model()
    first = run(model, *DAYS)
    assert reasons(first) == [Why.NEW] * 3
    assert daily(filled) == dict.fromkeys(DAYS, 3)

    late = filled.commit(FIRST, event="$late", minutes=(5,))
    second = run(model, *DAYS)
    assert reasons(second) == [Why.TOUCHED, Why.CURRENT, Why.CURRENT]
    assert daily(filled) == {FIRST: 4, SECOND: 3, THIRD: 3}
    known = [outcome.computed for outcome in second.outcomes]
    assert [each.source_snapshot for each in known if each] == [second.source_snapshot] + [first.source_snapshot] * 2
    assert second.source_snapshot >= late > first.source_snapshot
    assert [each.rows for each in known if each] == [2, 1, 1]

    third = run(model, *DAYS)
    assert reasons(third) == [Why.CURRENT] * 3
    assert third.snapshot is None
    forced = run(model, SECOND, is_forced=True)
    assert reasons(forced) == [Why.FORCED]
    assert forced.snapshot is not None
    assert daily(filled) == {FIRST: 4, SECOND: 3, THIRD: 3}
    assert len(live_files(filled)) == 3
    assert filled.query("SELECT count(*) FROM __ducklake_metadata_lake.ducklake_delete_file") == [(0,)]


def test_day_that_becomes_empty_is_emptied(local: ModelLake) -> None:
    model = local.model()
    run(model, *DAYS)
    local.foreign(f"DELETE FROM lake.main.events WHERE timestamp < TIMESTAMPTZ '{SECOND} 00:00:00+00'")
    report = run(model, *DAYS)
    assert reasons(report) == [Why.FOREIGN] * 3  # nobody can say which days somebody else's DELETE touched
    assert daily(local) == {SECOND: 3, THIRD: 3}
    assert report.outcomes[0].computed is not None
    assert report.outcomes[0].computed.rows == 0


def test_days_around_count_where_the_model_reads_them(local: ModelLake) -> None:
    model = local.model(reads={"before": 1, "after": 1})
    run(model, *DAYS)
    local.commit(FIRST)
    assert reasons(run(model, *DAYS)) == [Why.TOUCHED, Why.TOUCHED, Why.CURRENT]


def test_expired_snapshots_leave_what_nobody_can_say_to_be_computed(local: ModelLake) -> None:
    model = local.model()
    run(model, FIRST)
    local.commit(SECOND)
    local.commit(SECOND)
    run(model, SECOND)
    with open_lake(local.config.lake) as lake:
        oldest = lake.execute("SELECT max(source_snapshot) FROM lake.arrow_ingest.models_daily")[0][0]
        lake.execute(f"CALL ducklake_expire_snapshots('lake', versions => [{','.join(map(str, range(oldest)))}])")
    report = run(model, FIRST, SECOND)
    assert reasons(report) == [Why.UNKNOWN, Why.CURRENT]
    assert reasons(run(model, FIRST, SECOND)) == [Why.CURRENT] * 2


def test_another_query_computes_its_days_again_and_adds_its_columns(local: ModelLake) -> None:
    run(local.model(), FIRST, SECOND)
    with_more = local.model(
        "SELECT CAST(timestamp AS DATE) AS day, event, count(*) AS events, max(timestamp) AS latest FROM events "
        "WHERE timestamp >= $start AND timestamp < $stop GROUP BY ALL;  -- and no less\n"
    )
    assert reasons(run(with_more, SECOND)) == [Why.CODE]
    rows = local.query("SELECT day::VARCHAR, latest IS NULL FROM lake.main.daily ORDER BY 1")
    assert rows == [(FIRST, True), (SECOND, False)]
    other_type = local.model(
        "SELECT CAST(timestamp AS DATE) AS day, 1 AS event FROM events WHERE timestamp >= $start AND timestamp < $stop"
    )
    with pytest.raises(ModelRefused, match="column event is VARCHAR in the table and INTEGER in the query"):
        run(other_type, SECOND)


def test_run_that_ends_amid_its_transaction_changes_nothing(local: ModelLake) -> None:
    model = local.model()
    run(model, FIRST)
    local.commit(FIRST)
    for point in (Point.FENCED, Point.FILES_ADDED, Point.LEDGER_WRITTEN):

        def end(reached: Point, point: Point = point) -> None:
            if reached is point:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run(model, FIRST, at=end)
        assert daily(local) == {FIRST: 3}
    assert reasons(run(model, FIRST)) == [Why.TOUCHED]
    assert daily(local) == {FIRST: 6}


def test_run_that_is_asked_to_stop_changes_nothing(local: ModelLake) -> None:
    answers = iter([False, False, True])
    with pytest.raises(Stopped):
        run(local.model(), *DAYS, stop=lambda: next(answers))
    assert local.query("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'daily'") == [(0,)]


def test_file_of_a_run_that_died_goes_with_the_orphans_of_its_pipeline(local: ModelLake) -> None:
    model = local.model()
    run(model, FIRST)

    def die(point: Point) -> None:
        if point is Point.FENCED:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(model, SECOND, at=die)
    folder = Path(local.config.lake.data_path) / "main" / "daily"
    assert len(list(folder.rglob("model-*.parquet"))) == 2
    in_a_week = datetime.now(UTC) + timedelta(days=8)
    maintain(local.config, run_id="test", now=in_a_week, only=[Step.ORPHANS])
    assert [str(file) for file in folder.rglob("model-*.parquet")] == live_files(local)
    assert daily(local) == {FIRST: 3}


@pytest.mark.parametrize("keep_table", [True, False])
def test_models_go_with_their_pipeline_and_their_tables_stay_if_its_table_does(
    tmp_path: Path, keep_table: bool
) -> None:
    local = ModelLake(tmp_path)
    local.commit(FIRST)
    run(local.model(), FIRST)
    with open_lake(local.config.lake) as lake:
        assert drop(lake, "events", keep_table=keep_table)
    tables = "SELECT table_name FROM duckdb_tables() WHERE table_name LIKE '%daily' ORDER BY 1"
    assert local.query(tables) == ([("daily",)] if keep_table else [])


class LosesAnswers(Lake):
    """A session of which the first COMMIT of a model's rows lands, or does not, and whose answer is lost."""

    lands = True
    losses = 1

    def execute(self, text: str, parameters: Any = ()) -> list[tuple[Any, ...]]:
        if text == "COMMIT" and self.is_signed and type(self).losses:
            type(self).losses -= 1
            super().execute("COMMIT" if self.lands else "ROLLBACK")
            raise CatalogUnavailable("the line is cut")
        self.is_signed = text.startswith("CALL lake.set_commit_message") and "model: daily:" in str(parameters)
        return super().execute(text, parameters)


@pytest.mark.parametrize("lands", [True, False])
def test_lost_answer_to_commit_is_looked_up_and_never_repeated(filled: ModelLake, lands: bool) -> None:
    class Loses(LosesAnswers):
        pass

    Loses.lands, Loses.losses = lands, 1

    def opens(*arguments: Any, **named: Any) -> Lake:
        session = open_lake(*arguments, **named)
        session.__class__ = Loses
        return session

    model = filled.model()
    report = run(model, *DAYS, opens=opens)
    assert Loses.losses == 0
    assert daily(filled) == dict.fromkeys(DAYS, 3)
    assert len(live_files(filled)) == 3
    made = filled.query("SELECT snapshot_id FROM ducklake_snapshots('lake') WHERE commit_message LIKE 'model: daily:%'")
    assert made == [(report.snapshot,)]
    assert all(Path(file).is_file() for file in live_files(filled))


def test_run_that_another_one_overtakes_takes_its_rows_for_what_they_are(filled: ModelLake) -> None:
    model = filled.model()
    overtaken: list[ModelReport] = []

    def overtake(point: Point) -> None:
        if point is Point.STAGED and not overtaken:
            filled.commit(FIRST)
            overtaken.append(run(model, FIRST))

    report = run(model, FIRST, at=overtake)
    assert reasons(overtaken[0]) == [Why.NEW]
    assert reasons(report) == [Why.CURRENT]
    assert daily(filled) == {FIRST: 6}


def test_runs_of_other_days_side_by_side_both_land(filled: ModelLake) -> None:
    model = filled.model()
    beside: list[ModelReport] = []

    def another(point: Point) -> None:
        if point is Point.STAGED and not beside:
            beside.append(run(model, SECOND))

    assert reasons(run(model, FIRST, at=another)) == [Why.NEW]
    assert daily(filled) == {FIRST: 3, SECOND: 3}


def test_run_that_is_overtaken_all_the_time_gives_up(local: ModelLake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("arrow_ingest.lake.models.run.ATTEMPTS", 2)
    model = local.model()

    def overtake(point: Point) -> None:
        if point is Point.STAGED:
            run(model, FIRST, is_forced=True)

    with pytest.raises(Replan):
        run(model, FIRST, is_forced=True, at=overtake)


ROWS_OF_TOMORROW = "SELECT CAST($stop AS DATE) AS day, 1 AS n FROM events WHERE timestamp >= $start"


@pytest.mark.parametrize(
    ("sql", "error", "says"),
    [
        (ROWS_OF_TOMORROW, ModelRefused, "gives rows of 2026-11-04"),
        ("SELECT NULL::DATE AS day, 1 AS n FROM events", ModelRefused, "gives rows of no partition"),
        ("SELECT 1 AS n FROM events", ModelRefused, "has no column day"),
        ("SELECT timestamp::VARCHAR AS day FROM events", ModelRefused, "gives day as string"),
        ("SELECT $start AS day, INTERVAL 1 DAY AS gap FROM events", ModelRefused, "no file holds column gap"),
        ("SELECT $start::DATE AS day, n FROM nowhere", StatementRefused, "nowhere"),
        ("SELECT $start::DATE AS day, event::INT AS n FROM events", StatementRefused, "Could not convert"),
        ("COPY (SELECT 1) TO 'x'", StatementRefused, "only a query"),
        ("SELECT $start::DATE AS day FROM ducklake_cleanup_old_files('lake')", StatementRefused, "cleanup"),
        ("SELECT $start::DATE AS day, * FROM read_csv('/etc/passwd')", StatementRefused, "read_csv"),
        ("SELECT $start::DATE AS day, content FROM read_parquet('/etc/passwd')", StatementRefused, "Permission"),
    ],
)
def test_query_that_is_no_models_is_refused_and_nothing_changes(
    untouched: ModelLake, sql: str, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        run(untouched.model(sql), FIRST)
    assert untouched.query("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'daily'") == [(0,)]


CHECKS: list[dict[str, Any]] = [
    {"not_null": ["event"]},
    {"unique": ["day", "event"]},
    {"accepted_range": {"column": "events", "min": 1, "max": 3}},
    {"accepted_values": {"column": "event", "values": ["$pageview"]}, "severity": "warn"},
    {"name": "few", "bad_rows": "FROM model WHERE events > 100 -- none\n"},
]


def test_rows_that_a_blocking_check_refuses_never_reach_the_table(local: ModelLake) -> None:
    model = local.model(checks=CHECKS)
    assert not run(model, *DAYS).refusals
    local.commit(SECOND)
    report = run(model, *DAYS)
    assert [(refusal.check.key, refusal.value, refusal.bad_rows) for refusal in report.refusals] == [
        ("accepted_range_events", SECOND, 1)
    ]
    assert report.snapshot is None
    assert daily(local) == dict.fromkeys(DAYS, 3)


def test_checks_are_answered_of_the_committed_rows(local: ModelLake) -> None:
    model = local.model(checks=CHECKS)
    local.commit(THIRD, event="$other")
    run(model, *DAYS)
    answers = check_answers(model, DAYS)
    assert len(answers) == len(CHECKS) * len(DAYS)
    assert [(a.check.key, a.value) for a in answers if not a.passed] == [("accepted_values_event", THIRD)]


def test_table_of_somebody_else_and_a_model_that_became_another_are_refused(local: ModelLake) -> None:
    local.foreign("CREATE TABLE lake.main.theirs (x INTEGER)")
    with pytest.raises(LakeMismatch, match="is there already"):
        run(local.model(table="theirs"), FIRST)
    run(local.model(), FIRST)
    with pytest.raises(LakeMismatch, match=r"is main\.daily .* in the lake and main\.other"):
        run(local.model(table="other"), FIRST)


def test_state_that_is_made_anew_is_the_same_and_stays_in_the_catalog(
    filled: ModelLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = filled.model()
    run(model, *DAYS)
    before = state_of(filled)
    monkeypatch.setattr(state, "ROTATE_AFTER", 1)
    monkeypatch.setattr(state, "CHUNK", 2)
    run(model, SECOND, is_forced=True)
    after = state_of(filled)
    assert {**after, SECOND: None} == {**before, SECOND: None}
    assert after[SECOND].commit_id != before[SECOND].commit_id
    assert filled.query("SELECT commits FROM lake.arrow_ingest.models_daily WHERE table_partition IS NULL") == [(0,)]
    assert reasons(run(model, *DAYS)) == [Why.CURRENT] * 3
    names = "parse_filename(path) FROM __ducklake_metadata_lake.ducklake_data_file"
    assert {name.partition("-")[0] for (name,) in filled.query(f"SELECT {names}")} == {"lane", "model"}


def state_of(lake: ModelLake) -> dict[str, Any]:
    with open_lake(lake.config.lake, read_only=True) as session:
        return dict(state.read(session, "daily"))
