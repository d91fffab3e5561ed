"""What is told of which incidents: decisions over observations; messages to a real HTTP receiver and SMTP server."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from arrow_ingest.alert_settings import Alerts, AlertTarget
from arrow_ingest.alerts.delivery import Target, send, targets, targets_of
from arrow_ingest.alerts.incidents import Change, Kind, Level, Observation, Subject, Trouble, diff, newest
from arrow_ingest.alerts.messages import Links, Message, Tone, messages
from arrow_ingest.alerts.outbox import MAX_WAITING, Limit, Memory, deliver
from arrow_ingest.cli import cli
from arrow_ingest_tests.alert_mailbox import PASSWORD, mailbox
from arrow_ingest_tests.alert_receiver import AlertReceiver, alert_receiver

LINKS = Links("http://dagster.example", ("lake", "main", "events"))
HELLO = Message("title", "body", Tone.WARNING)
PLENTY = Limit(100, 60.0)

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
        told = [change.over_by is None for change in changes if change.subject == subject and not change.is_worse]
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
    assert all(change.over_by is None and not change.is_worse for change in changes)
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
    memory = Memory(1.5, {"lag/7": 1.0}, known, {"id": (HELLO, HELLO)}, {"id": (0.5, 1.0)})
    assert Memory.parse(memory.text()) == memory
    earlier = '{"read_through": 1, "read": {}, "known": [], "waiting": {"id": [["title", "body", "warning"]]}}'
    assert Memory.parse(earlier).waiting["id"][0].title == "title", "of an arrow_ingest without severities"


def test_what_a_target_does_not_take_waits_for_it_alone_in_order_and_is_delivered_once() -> None:
    up, down = targets(["json://up", "json://down", "json://up"])
    queued, sent, kept = Memory().with_waiting([HELLO, HELLO], [up, down]), list[int](), list[Memory]()

    def send_to(target: Target, _: Message) -> str | None:
        return "refused" if target is down else sent.append(target.number)

    after, failures = deliver(queued, [up, down], send_to, now=0.0, limit=PLENTY, keep=kept.append)
    assert (sent, failures) == ([1, 1], {down: "refused"})
    assert after.waiting == {up.id: (), down.id: (HELLO, HELLO)}
    assert [len(memory.waiting[up.id]) for memory in kept] == [1, 0], "whoever dies now tells nothing again"
    assert after.with_waiting([], [up]).waiting == {up.id: ()}, "a target that is no more is forgotten"
    late = deliver(queued, [up], send_to, now=0.0, limit=PLENTY, keep=kept.append, has_time=lambda: False)[0]
    assert late == queued


@given(st.lists(st.tuples(st.integers(0, 300), st.booleans()), max_size=8), st.integers(1, 6))
def test_a_target_gets_so_many_messages_at_most_and_hears_of_all(ticks: list[tuple[int, bool]], most: int) -> None:
    (to,) = targets(["json://up"])
    memory, told, limit = Memory(), list[tuple[float, Message]](), Limit(most, 60.0)
    total = 0
    for number, (new, is_up) in enumerate([*ticks, *[(0, True)] * 3]):
        now = 25.0 * number if number < len(ticks) else 25.0 * len(ticks) + 60.0 * (number - len(ticks))
        numbered = [Message(f"message {total + index}", "", Tone.WARNING) for index in range(new)]
        total += new
        memory = memory.with_waiting(numbered, [to])
        assert len(memory.waiting[to.id]) <= MAX_WAITING

        def send_to(_: Target, message: Message, now: float = now, is_up: bool = is_up) -> str | None:
            return told.append((now, message)) if is_up else "down"

        memory, _ = deliver(memory, [to], send_to, now=now, limit=limit, keep=lambda _: None)
    assert sum(message.count for _, message in told) == total, "the rest is counted where it is not listed"
    for at, _ in told:
        assert sum(at <= other < at + 60.0 for other, _ in told) <= most


def test_a_burst_is_told_one_by_one_and_the_last_message_lists_the_rest() -> None:
    (to,) = targets(["json://up"])
    burst = [Message(f"[p] check {number} failed", "", Tone.WARNING, Level.WARN) for number in range(30)]
    told: list[Message] = []
    queued = Memory().with_waiting([*burst, Message("[p] lane 0 is suspended", "", Tone.FAILURE)], [to])
    deliver(queued, [to], lambda _, message: told.append(message), now=0.0, limit=Limit(3, 60.0), keep=lambda _: None)
    assert [message.title for message in told] == [
        "[p] check 0 failed",
        "[p] check 1 failed",
        "29 messages: [p] check 2 failed and 28 more",
    ]
    assert (told[-1].tone, told[-1].body.splitlines()[-1]) == (Tone.FAILURE, "and 19 more")


def test_errors_go_where_errors_are_asked_for_and_warnings_only_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAT", "json://chat json://both")
    monkeypatch.setenv("PAGER", "json://both json://pager")
    named = Alerts.model_validate({"targets": [{"variable": "CHAT"}, {"variable": "PAGER", "severity": "error"}]})
    chat, both, pager = targets_of(named)
    assert [target.level for target in (chat, both, pager)] == [Level.WARN, Level.WARN, Level.ERROR]
    check = Subject(Kind.CHECK, "dead_letters")
    now: dict[Subject, Trouble] = {}
    heard: dict[str, list[str]] = {chat.url: [], pager.url: []}
    for at, level in enumerate((Level.WARN, Level.ERROR, Level.WARN, Level.ERROR, None)):
        now, changes = diff(now, [seen(check, at, level)])
        waiting = Memory().with_waiting(messages("p", changes, LINKS), [chat, pager]).waiting
        for target in (chat, pager):
            heard[target.url] += [message.tone for message in waiting[target.id]]
    assert heard == {
        chat.url: [Tone.WARNING, Tone.FAILURE, Tone.SUCCESS],
        pager.url: [Tone.FAILURE, Tone.SUCCESS],
    }
    assert Alerts(min_severity="error", targets=(AlertTarget(severity="warn"),)).lowest_severity == "warn"


def test_mail_goes_out_by_smtp_with_tls_and_a_login_and_a_wrong_password_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "mailbox.pem"))
    with mailbox(tmp_path) as box:
        monkeypatch.setenv("MAIL", box.url())
        (to,) = targets_of(Alerts(targets=(AlertTarget(variable="MAIL"),)))
        assert send(to, Message("[p] lane 0 is suspended", "log_truncated\nRun: http://x/runs/1", Tone.FAILURE)) is None
        (mail,) = box.received
        assert (mail["Subject"], mail["To"]) == ("[p] lane 0 is suspended", "ops@example.com")
        assert "alerts@example.com" in mail["From"]
        body = mail.get_body()
        assert body is not None
        assert "log_truncated" in body.get_content()
        why = send(Target(1, box.url("a-wrong-password")), HELLO)
        assert why is not None
        assert (len(box.received), box.refused > 0) == (1, True)
        assert "a-wrong-password" not in why + caplog.text + to.name
        assert PASSWORD not in why + caplog.text + to.name


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
