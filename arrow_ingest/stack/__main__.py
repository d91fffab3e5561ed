"""``python -m arrow_ingest.stack``: the stack in the foreground, until Ctrl-C."""

import shlex
import signal
import sys
from pathlib import Path

import click

from arrow_ingest.errors import MissingPart, StackFailed
from arrow_ingest.stack.stack import DEFAULT_FOLDER, install, running_stack


@click.command()
@click.option(
    "--dir",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=DEFAULT_FOLDER,
    show_default=True,
    help="Folder of programs, data and logs.",
)
@click.option("--brokers", type=click.Choice(["1", "3"]), default="1", show_default=True, help="Kafka brokers.")
@click.option("--install", "only_install", is_flag=True, help="Bring the programs and start nothing.")
def main(folder: Path, brokers: str, *, only_install: bool) -> None:
    """Start Apache Kafka, PostgreSQL and an S3 server, empty, on free loopback ports, until Ctrl-C.

    Prints the environment variables that point arrow_ingest at them, as a shell takes them.
    """
    for number in (signal.SIGINT, signal.SIGTERM):  # also where a shell started us in the background, without SIGINT
        signal.signal(number, signal.default_int_handler)
    try:
        if only_install:
            install(folder)
            return
        with running_stack(folder, brokers=int(brokers)) as stack:
            for name, value in stack.environ().items():
                click.echo(f"export {name}={shlex.quote(value)}")
            for name, value in stack.s3.environ(stack.s3.maintenance).items():
                if stack.environ()[name] != value:
                    click.echo(f"# for maintenance, which may delete: export {name}={shlex.quote(value)}")
            click.echo("the stack runs until Ctrl-C", err=True)
            sys.stdout.flush()
            signal.pause()
    except KeyboardInterrupt:
        click.echo("stopped", err=True)
    except (MissingPart, StackFailed) as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
