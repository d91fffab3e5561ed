"""The command line itself: help, exit codes, errors, output."""

import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from arrow_ingest import environment
from arrow_ingest.cli import COMMANDS, cli
from arrow_ingest.cli.exits import Exit, exit_code
from arrow_ingest.cli.output import cell, table
from arrow_ingest.errors import (
    ArrowIngestError,
    BrokerUnavailable,
    CatalogUnavailable,
    ConfigError,
    LaneBusy,
    LaneFenced,
    LaneSuspended,
    LayoutMismatch,
    OutcomeUnknown,
    StageFailed,
    StatementRefused,
    SuspendReason,
)
from arrow_ingest_tests.cli_project import cli_project

HEAVY = ("dagster", "duckdb", "pyarrow", "confluent_kafka", "pydantic", "rich")


def modules_after(*arguments: str) -> set[str]:
    """Which of the heavy packages a fresh process has imported after a command."""
    script = (
        "import sys; from arrow_ingest.cli import main; sys.argv[1:] = sys.argv[2:]\n"
        f"try: main()\nexcept SystemExit: print('\\n' + ' '.join(m for m in {HEAVY!r} if m in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "-", *arguments], capture_output=True, text=True, timeout=60, check=True
    )
    return set(done.stdout.splitlines()[-1].split())


def test_help_imports_nothing_heavy() -> None:
    assert modules_after("--help") == set()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_none_needs_dagster_for_it(name: str) -> None:
    result = CliRunner().invoke(cli, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert "Usage:" in result.output


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in ("demo", "init", "schema")])
def test_commands_take_the_common_options(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    below = [[name, sub] for sub in command.commands] if isinstance(command, click.Group) else [[name]]
    for words in below:
        output = CliRunner().invoke(cli, [*words, "--help"]).output
        assert all(option in output for option in ("--project", "--json", "--verbose"))


def test_no_command_imports_dagster() -> None:
    modules = " ".join(f"import {module};" for module, _ in COMMANDS.values())
    script = f"{modules} import sys; sys.exit('dagster' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], timeout=60, check=True)


def test_entry_point_silences_alignment_warnings_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(environment.ACERO_ALIGNMENT, raising=False)
    environment.prepare()
    assert environment.variables()[environment.ACERO_ALIGNMENT] == "ignore"
    monkeypatch.setenv(environment.ACERO_ALIGNMENT, "reallocate")
    environment.prepare()
    assert environment.variables()[environment.ACERO_ALIGNMENT] == "reallocate"


def test_unknown_command_is_wrong_usage() -> None:
    result = CliRunner().invoke(cli, ["drian"])
    assert result.exit_code == Exit.USAGE
    assert "No such command 'drian'" in result.output


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (LaneSuspended(SuspendReason.LOG_TRUNCATED, "x"), Exit.SUSPENDED),
        (BrokerUnavailable("h:1", "asking", "refused"), Exit.UNREACHABLE),
        (CatalogUnavailable("x"), Exit.UNREACHABLE),
        (LaneBusy("p", 0), Exit.UNREACHABLE),
        (LaneFenced("p", 0), Exit.UNREACHABLE),
        (OutcomeUnknown("id", "x"), Exit.UNREACHABLE),
        (ConfigError("x"), Exit.USAGE),
        (LayoutMismatch("p", 1, 2), Exit.USAGE),
        (StatementRefused("x"), Exit.USAGE),
        (StageFailed("x"), Exit.FINDING),
    ],
)
def test_exit_code_follows_the_error_tree(error: ArrowIngestError, code: Exit) -> None:
    assert exit_code(error) is code


def test_wrong_settings_are_one_sentence_on_stderr_with_file_line_and_key(tmp_path: Path) -> None:
    project = cli_project(tmp_path, "127.0.0.1:1", clicks="t")
    file = tmp_path / "src/shop/defs/clicks/defs.yaml"
    file.write_text(file.read_text() + "  lanes: none\n")
    result = project.run("status", exit_code=2)
    assert result.stdout == ""
    assert result.stderr.startswith(f"error: {file}:8: lanes: ")
    assert len(result.stderr.splitlines()) == 1


def test_verbose_shows_where_an_error_was_raised(tmp_path: Path) -> None:
    project = cli_project(tmp_path, "127.0.0.1:1", clicks="t")
    result = project.run("status", "nope", "--verbose", exit_code=2)
    assert "Traceback" in result.stderr
    assert result.stderr.splitlines()[-1] == "error: there is no pipeline 'nope', only clicks"


def test_suspension_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    from arrow_ingest.cli.exits import reported

    for reason in SuspendReason:
        reported(LaneSuspended(reason, "detail"))
        assert "arrow-ingest re" in capsys.readouterr().err


def test_table_shows_all_of_a_value_when_it_is_piped(capsys: pytest.CaptureFixture[str]) -> None:
    from arrow_ingest.cli.output import print_people

    long = "x" * 200
    print_people(table(["a", "b"], [(long, 12345)]), "[sic] " + long)
    out = capsys.readouterr().out
    assert long in out
    assert cell(12345) == "12,345" in out
    assert f"[sic] {long}\n" in out
