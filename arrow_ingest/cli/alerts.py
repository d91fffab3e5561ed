"""`arrow-ingest alerts test`: whether alerts would arrive."""

import click

from arrow_ingest.cli.exits import Exit
from arrow_ingest.cli.options import Common, common
from arrow_ingest.cli.output import print_json, print_people, table
from arrow_ingest.errors import ConfigError


@click.group()
def alerts() -> None:
    """Alerts of failed checks, suspended lanes and failed runs, as Dagster's alert sensors send them."""


@alerts.command()
@common
@click.pass_context
def test(ctx: click.Context, options: Common) -> None:
    """Send a test message to every target of the project's pipelines and say how each went.

    The environment variables that `alerts.targets` names, ARROW_INGEST_ALERT_URLS unless it says otherwise, hold
    addresses as apprise knows them, separated by white space. They are not shown. Exit code 1 if one target did not
    take the message.
    """
    from arrow_ingest.alerts.delivery import send, targets, targets_of
    from arrow_ingest.alerts.messages import Message, Tone

    pipelines = options.pipelines(())
    found = targets(target.url for config in pipelines for target in targets_of(config.alerts))
    if not found:
        named = sorted({target.variable for config in pipelines for target in config.alerts.targets})
        raise ConfigError(
            f"{' and '.join(named)} is not set: give it one or more apprise addresses, such as json://host:port/"
        )
    message = Message("[arrow-ingest] test", "This is a test: alerts of arrow-ingest arrive here.", Tone.INFO)
    failures = {target: send(target, message) for target in found}
    if options.as_json:
        print_json([{"target": target.name, "delivered": why is None, "why": why} for target, why in failures.items()])
    else:
        print_people(table(["target", "result"], [(on.name, why or "delivered") for on, why in failures.items()]))
    ctx.exit(Exit.FINDING if any(failures.values()) else Exit.OK)
