"""`arrow-ingest exporter`: numbers for Prometheus."""

import logging
from concurrent.futures import ThreadPoolExecutor, wait

import click

from arrow_ingest.cli.exits import Exit
from arrow_ingest.cli.options import Common, common
from arrow_ingest.cli.signals import stop_on_signals

log = logging.getLogger(__name__)

PORT = 9808

LAST_LOOK_SECONDS = 5.0
"""How long a look that is under way is waited for when the exporter is to end."""


@click.command()
@click.argument("pipelines", nargs=-1, metavar="[PIPELINE]...")
@click.option("--host", default="127.0.0.1", show_default=True, help="Who may ask: there is no password.")
@click.option("--port", type=click.IntRange(0, 65535), default=PORT, show_default=True, help="0: a free one.")
@click.option(
    "--every",
    "every_seconds",
    type=click.FloatRange(min=1.0),
    default=15.0,
    show_default=True,
    help="Seconds between two looks at lake and broker; a scrape shows the last one.",
)
@click.option("--once", is_flag=True, help="Look once, print what would be served, and end.")
@common
def exporter(
    options: Common, pipelines: tuple[str, ...], host: str, port: int, every_seconds: float, *, once: bool
) -> None:
    """Serve the numbers of all pipelines of the project, or of those named, to Prometheus.

    It reads the lake and asks the broker, and changes nothing. While one of them is down, its numbers are left out, and
    arrow_ingest_lake_up or arrow_ingest_broker_up is 0; the log says why. docs/monitoring.md lists what is served.
    """
    from arrow_ingest.exporter.lake_process import LakeProcess
    from arrow_ingest.exporter.rounds import Rounds
    from arrow_ingest.exporter.served import Served

    configs, served = options.pipelines(pipelines), Served()
    with LakeProcess(configs) as lake, stop_on_signals() as stop:
        rounds = Rounds(configs, lake)
        if once:
            looks = [rounds.look(number) for number in range(len(configs))]
            for look in looks:
                served.show(look)
            click.echo(served.text(), nl=False)
            silent = any(look.standing is None for look in looks)
            click.get_current_context().exit(Exit.UNREACHABLE if silent else Exit.OK)
        with served.listening(host, port) as bound:
            log.info("serving %d pipelines at http://%s:%d/metrics", len(configs), host, bound)
            with ThreadPoolExecutor(1, "looks") as thread:
                looking = thread.submit(rounds.keep_looking, served.show, stop, every_seconds)
                looking.add_done_callback(lambda _: stop.set())  # a fault of ours ends the command, and is shown
                stop.wait()
                if not wait([looking], timeout=LAST_LOOK_SECONDS).done:
                    lake.interrupt()
                looking.result()
