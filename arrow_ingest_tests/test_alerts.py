"""What is told of which incidents: decisions over observations, and messages to a real HTTP receiver."""

import json
import logging
from collections.abc import Iterator

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from arrow_ingest.alerts.delivery import Target, send, targets
from arrow_ingest.alerts.incidents import Change, Kind, Level, Observation, Subject, Trouble, diff, newest
from arrow_ingest.alerts.messages import Links, Message, Tone, messages
from arrow_ingest.alerts.outbox import MAX_WAITING, Memory, deliver
from arrow_ingest.cli import cli
from arrow_ingest_tests.alert_receiver import AlertReceiver, alert_receiver

LINKS = Links("http://dagster.example", ("lake", "main", "events"))
HELLO = Message("title", "body", Tone.WARNING)

SUBJECTS = [Subject(Kind.LANE, "0"), Subject(Kind.RUNS, "0"), Subject(Kind.CHECK, "rows", "2026-11-04")]


def seen(subject: Subject, at: float, level: Level | None) -> Observation:
    trouble = None if level is None else Trouble(level, "it says", f"run-{at:g}")
    return Observation(subject, at, f"run-{at:g}", trouble)


histories = st.lists(st.tuples(st.sampled_from(SUBJECTS), st.sampled_from([None, *Level])), max_size=12).map(
    lambda drawn: [seen(subject, at, level) for at, (subject, level) in enumerate(drawn)]
)


@given(histories)
def test_of_each_subject_begin_and_end_are_told_in_turn(history: list[Observation]) -> None:
    now, changes = diff({}, history)
    for subject in SUBJECTS:
        told = [change.over_by is None for change in changes if change.subject == subject]
        assert told == [n % 2 == 0 for n in range(len(told))]
        assert (subject in now) == (len(told) % 2 == 1)


@given(histories, st.integers(0, 12))
def test_ticks_do_not_change_what_is_told_of_a_subject(history: list[Observation], cut: int) -> None:
    at_once = diff({}, history)
    first, before = diff({}, history[:cut])
    second, after = diff(first, history[cut:])
    assert second == at_once[0]
    assert sorted(before + after, key=repr) == sorted(at_once[1], key=repr)


@given(histories)
def test_the_first_look_tells_what_is_open_and_nothing_of_the_past(history: list[Observation]) -> None:
    _, changes = diff({}, newest(history))
    assert all(change.over_by is None for change in changes)
    assert {change.subject for change in changes} == diff({}, history)[0].keys()


@pytest.mark.parametrize(
    ("check", "level", "is_told"),
    [
        ("lag", Level.WARN, False),
        ("freshness", Level.WARN, False),
        ("dead_letters", Level.ERROR, False),
        ("dead_letters", Level.WARN, False),
        ("schema_drift", Level.WARN, True),
        ("rows_accounted_for", Level.ERROR, True),
    ],
)
def test_a_suspended_lane_explains_the_checks_that_fail_with_it(check: str, level: Level, is_told: bool) -> None:
    failed = seen(Subject(Kind.CHECK, check), 1.0, level)
    suspended = seen(Subject(Kind.LANE, "0"), 2.0, Level.ERROR)
    _, changes = diff({}, [failed, suspended])
    assert [change.subject.kind for change in changes] == [Kind.LANE, *([Kind.CHECK] if is_told else [])]


def test_a_check_that_fails_on_many_days_is_one_message_with_links() -> None:
    trouble = Trouble(Level.ERROR, "9 rows in the table, 10 in the ledger", "run-1")
    days = [Subject(Kind.CHECK, "rows_accounted_for", f"2026-11-{day:02}") for day in range(1, 13)]
    (began,) = messages("events", [Change(day, trouble) for day in days], LINKS)
    assert began.title == "[events] check rows_accounted_for failed"
    assert began.tone is Tone.FAILURE
    assert "2026-11-10 and 2 more" in began.body
    assert "http://dagster.example/runs/run-1" in began.body
    assert "http://dagster.example/assets/lake/main/events?view=checks&checkDetail=rows_accounted_for" in began.body
    (over,) = messages("events", [Change(days[0], trouble, over_by="run-2")], LINKS)
    assert over.title == "[events] recovered: check rows_accounted_for failed"
    assert (over.tone, "runs/run-2" in over.body) == (Tone.SUCCESS, True)


@pytest.mark.parametrize("cursor", [None, "", "no json", "{}", "[]", '{"read_through": 1}'])
def test_a_cursor_of_other_code_is_forgotten(cursor: str | None) -> None:
    assert Memory.parse(cursor) == Memory()


def test_a_cursor_keeps_all_of_the_memory() -> None:
    known = {subject: Trouble(Level.WARN, "says", "run") for subject in SUBJECTS}
    memory = Memory(1.5, {"lag/7": 1.0}, known, {"id": (HELLO, HELLO)})
    assert Memory.parse(memory.text()) == memory


def test_what_a_target_does_not_take_waits_for_it_alone_in_order_and_bounded() -> None:
    up, down = targets(["json://up", "json://down", "json://up"])
    queued = Memory().with_waiting([HELLO, HELLO], [up, down])
    sent: list[int] = []
    left, failures = deliver(
        queued.waiting, [up, down], lambda to, _: "refused" if to is down else sent.append(to.number)
    )
    assert (sent, left, failures) == ([1, 1], {down.id: (HELLO, HELLO)}, {down: "refused"})
    many = Memory(waiting=left).with_waiting([HELLO] * MAX_WAITING, [down])
    assert len(many.waiting[down.id]) == MAX_WAITING
    assert Memory(waiting=left).with_waiting([], [up]).waiting == {up.id: ()}, "a target that is no more is forgotten"
    assert deliver(left, [down], lambda *_: None, has_time=lambda: False)[0] == left


@pytest.fixture
def receiver() -> Iterator[AlertReceiver]:
    with alert_receiver() as running:
        yield running


def test_apprise_delivers_title_body_and_tone(receiver: AlertReceiver) -> None:
    assert send(Target(1, receiver.url), HELLO) is None
    (arrived,) = receiver.received
    assert (arrived["title"], arrived["message"], arrived["type"]) == ("title", "body", "warning")


@pytest.mark.parametrize(
    "url",
    [
        "nosuch://secret-token@secret-host/secret-path",
        "no URL, secret-token",
        "tgram://secret-token/",
        "json://[secret",
    ],
)
def test_an_address_that_apprise_refuses_is_neither_shown_nor_logged(
    url: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    target = Target(1, url)
    why = send(target, HELLO)
    assert why is not None
    assert "secret" not in why + target.name + repr(target) + caplog.text + "".join(capfd.readouterr())


def test_the_command_sends_a_test_message_and_says_how_it_went(
    receiver: AlertReceiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("ARROW_INGEST_ALERT_URLS", f"{receiver.url}\n")
    done = CliRunner().invoke(cli, ["alerts", "test"])
    assert (done.exit_code, receiver.titles) == (0, ["[arrow-ingest] test"])
    assert "target 1 (json)   delivered" in done.output
    receiver.is_refusing = True
    failed = CliRunner().invoke(cli, ["alerts", "test", "--json"])
    assert failed.exit_code == 1
    (told,) = json.loads(failed.stdout)
    assert (told["delivered"], "503" in told["why"]) == (False, True)
    assert "secret" not in done.output + failed.output + caplog.text


def test_the_command_without_targets_says_which_variable_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ARROW_INGEST_ALERT_URLS", raising=False)
    done = CliRunner().invoke(cli, ["alerts", "test"])
    assert done.exit_code == 2
    assert "ARROW_INGEST_ALERT_URLS is not set" in done.output
