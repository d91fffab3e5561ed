"""`arrow-ingest demo`: everything at work on one machine."""

from pathlib import Path

import click

from arrow_ingest.cli.exits import Exit
from arrow_ingest.cli.options import log_to_stderr
from arrow_ingest.cli.signals import stop_on_signals


@click.command()
@click.option(
    "--dir",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".arrow_ingest"),
    show_default=True,
    help="Folder of the demo's lake, Dagster home and logs.",
)
@click.option("--stack", "on_stack", is_flag=True, help="Over Apache Kafka, PostgreSQL and S3, all started here.")
@click.option("--lanes", type=click.IntRange(min=1), default=1, show_default=True, help="Runs side by side.")
@click.option(
    "--pipelines",
    type=click.IntRange(1, 2),
    default=1,
    show_default=True,
    help="2: orders beside the events.",
)
@click.option("--batches", type=click.IntRange(min=1), help="Messages to produce. Default: until Ctrl-C.")
@click.option("--rows-per-batch", type=click.IntRange(min=1), default=1_000, show_default=True, help="Rows a message.")
@click.option(
    "--rate", type=click.FloatRange(min=0), default=10.0, show_default=True, help="Messages a second; 0: all."
)
@click.option("--days", type=click.IntRange(min=1), default=3, show_default=True, help="Event days, today included.")
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of the generated events.")
@click.option("--once", is_flag=True, help="End when the runs that the sensor launched have committed every batch.")
@click.option("--timeout", type=click.FloatRange(min=1), default=900.0, show_default=True, help="Seconds for --once.")
@click.option("--json", "as_json", is_flag=True, help="The summary as JSON on stdout.")
def demo(
    *,
    folder: Path,
    on_stack: bool,
    lanes: int,
    pipelines: int,
    batches: int | None,
    rows_per_batch: int,
    rate: float,
    days: int,
    seed: int,
    once: bool,
    timeout: float,
    as_json: bool,
) -> None:
    """Start a broker, a producer and Dagster, and show rows arrive in a DuckLake table, until Ctrl-C.

    The Dagster sensor launches the runs that commit; the UI's address is shown. Ctrl-C stops everything, verifies the
    whole history and sums up. What is produced and committed stays in the folder for the next demo; with --stack it
    ends with the servers, which need Java, Maven, Go and PostgreSQL on the machine.
    """
    from arrow_ingest.demo.live import viewing
    from arrow_ingest.demo.show import DemoOptions, run_demo, sentences
    from arrow_ingest.demo.stage import Setting

    if once and batches is None:
        raise click.UsageError("--once needs --batches: it ends when they are all committed")
    log_to_stderr(verbose=False)
    setting = Setting(folder.absolute(), on_stack=on_stack, lanes=lanes, pipelines=pipelines)
    options = DemoOptions(
        batches=batches,
        rows_per_batch=rows_per_batch,
        batches_per_second=rate,
        days=days,
        seed=seed,
        once=once,
        timeout_seconds=timeout,
    )
    with stop_on_signals() as stop, viewing() as view:
        report = run_demo(setting, options, view, stop)
    for sentence in sentences(report, setting):
        click.echo(sentence, err=True)
    if as_json:
        click.echo(report.as_json())
    click.get_current_context().exit(Exit.OK if report.verify else Exit.FINDING)
