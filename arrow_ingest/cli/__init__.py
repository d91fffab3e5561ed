"""The command line: `arrow-ingest COMMAND`.

A command's module is imported when the command runs, and not before: `--help` loads neither pyarrow nor DuckDB, and
nothing but `demo` loads Dagster, which costs seconds.
"""

import importlib

import click

from arrow_ingest import __version__, environment
from arrow_ingest.cli.exits import reported
from arrow_ingest.errors import ArrowIngestError
from arrow_ingest.privacy import keep_private, write_no_core

COMMANDS = {
    "demo": ("arrow_ingest.demo.command", "Broker, producer and Dagster at work, until Ctrl-C."),
    "init": ("arrow_ingest.cli.init", "Make a Dagster project of your own, with one pipeline."),
    "schema": ("arrow_ingest.cli.schema", "Print the JSON schema of a pipeline's YAML, for editors."),
    "produce": ("arrow_ingest.cli.produce", "Send PostHog-shaped events, or files as they are, to the topic."),
    "drain": ("arrow_ingest.cli.drain", "Commit what the topic holds, here and now, without Dagster."),
    "status": ("arrow_ingest.cli.status", "Lag, stored offsets, lane states and the last commits."),
    "verify": ("arrow_ingest.cli.verify", "Prove that nothing is missing and nothing is there twice."),
    "doctor": ("arrow_ingest.cli.doctor", "What keeps a pipeline from running, and what to do about it."),
    "inspect": ("arrow_ingest.cli.inspection", "What would become of a payload, or of the topic's last messages."),
    "sql": ("arrow_ingest.cli.sql", "Query the lake, read-only."),
    "resume": ("arrow_ingest.cli.interventions", "Let a suspended lane go on where it stopped."),
    "dead-letters": (
        "arrow_ingest.cli.dead_letters",
        "What could not become rows: list, show, export, replay, expire.",
    ),
    "rebuild": ("arrow_ingest.cli.rebuild", "Make days of a table anew from the log, with the same rows."),
    "rebase": ("arrow_ingest.cli.interventions", "Go on with a topic that was made again, as a new generation."),
    "lanes": ("arrow_ingest.cli.lanes", "Give the lake the number of lanes that the YAML says."),
    "maintain": ("arrow_ingest.cli.maintain", "Merge files, expire snapshots, clean up; say first with --dry-run."),
    "migrate": ("arrow_ingest.cli.migrate", "Bring the lake's own tables to this version's layout."),
    "drop": ("arrow_ingest.cli.drop", "Take a pipeline out of its lake, with its table or without."),
    "exporter": ("arrow_ingest.cli.exporter", "Serve lag, rows, files and more to Prometheus."),
    "alerts": ("arrow_ingest.cli.alerts", "Send a test message to the targets of alerts."),
}
"""Name to module and summary. Each module holds its command under the command's name, ``_`` for ``-``."""


class Commands(click.Group):
    """The commands of :data:`COMMANDS`, and the one place where an error becomes a sentence and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's interface
        """In the order in which a newcomer meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's interface
        """Import a command; None when there is no such command."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(COMMANDS[cmd_name][0]), cmd_name.replace("-", "_"))
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """List the summaries without importing the commands."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> object:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except ArrowIngestError as error:
            ctx.exit(reported(error))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="arrow-ingest")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Arrow IPC record batches on Kafka to DuckLake tables, exactly once.

    Exit codes: 0 ok, 1 something was found, 2 wrong usage or settings, 3 unreachable or lane busy, 4 lane suspended.
    """
    if ctx.invoked_subcommand == "demo":  # its servers may run as other users, and read what it writes
        write_no_core()
    else:
        keep_private()


def main() -> None:
    """The entry point of `arrow-ingest`."""
    environment.prepare()
    cli()
