"""`arrow-ingest status`: what the lake has and what the broker has more."""

from collections.abc import Iterator

import click
from rich.console import RenderableType

from arrow_ingest.cli.exits import Exit, reported
from arrow_ingest.cli.options import Common, common
from arrow_ingest.cli.output import print_json, print_people, table
from arrow_ingest.errors import LayoutMismatch
from arrow_ingest.lake.ledger import LedgerEntry
from arrow_ingest.pipeline.standing import Standing, standing_of
from arrow_ingest.values import LaneState


@click.command()
@click.argument("pipelines", nargs=-1, metavar="[PIPELINE]...")
@click.option("--commits", type=click.IntRange(min=0), default=5, show_default=True, help="How many of the last.")
@common
def status(options: Common, pipelines: tuple[str, ...], commits: int) -> None:
    """Show lag per partition, stored offsets, lane states and the last commits.

    Without a broker it shows what the lake knows and exits with 3; it exits with 4 while a lane is suspended.
    """
    standings = [standing_of(config, commits=commits) for config in options.pipelines(pipelines)]
    if options.as_json:
        print_json([document(standing) for standing in standings])
    else:
        print_people(*(part for standing in standings for part in sentences(standing)))
    click.get_current_context().exit(max(exit_of(standing) for standing in standings))


def exit_of(standing: Standing) -> Exit:
    """4 while a lane is suspended, 3 without a broker; why it cannot be asked is told on stderr."""
    unreachable = Exit.OK if standing.unreachable is None else reported(standing.unreachable)
    suspended = any(lane.suspended is not None for lane in standing.lanes)
    return max(unreachable, Exit.SUSPENDED if suspended else Exit.OK)


def document(standing: Standing) -> dict[str, object]:
    """What `--json` shows of one pipeline."""
    config = standing.config
    return {
        "pipeline": config.name,
        "topic": config.kafka.topic,
        "table": f"{config.lake.schema_name}.{config.lake.table}",
        "committed": bool(standing.lanes),
        "layout": {"lake": standing.layout, "yaml": config.lanes},
        "lag": standing.lag(),
        "unreachable": str(standing.unreachable) if standing.unreachable else None,
        "lanes": [_lane(lane) for lane in standing.lanes],
        "partitions": [
            {
                "partition": entry.partition,
                "lane": entry.lane,
                "next": entry.next,
                "low": entry.low,
                "high": entry.high,
                "lag": entry.lag,
            }
            for entry in standing.partitions
        ],
        "commits": [_commit(entry) for entry in standing.commits],
    }


def _lane(lane: LaneState) -> dict[str, object]:
    return {
        "lane": lane.lane,
        "generation": lane.generation,
        "topic_id": lane.topic_id,
        "suspended": lane.suspended,
        "reason": lane.reason or None,
        "remedy": lane.suspended.remedy if lane.suspended else None,
    }


def _commit(entry: LedgerEntry) -> dict[str, object]:
    return {
        "snapshot_id": entry.snapshot_id,
        "committed_at": entry.committed_at,
        "lane": entry.lane,
        "kind": entry.kind,
        "messages": entry.tally.messages,
        "rows": entry.tally.rows,
        "dead_letters": entry.tally.dead,
        "run_id": entry.run_id,
    }


def sentences(standing: Standing) -> Iterator[RenderableType]:
    """What people see of one pipeline."""
    shown = document(standing)
    yield f"{shown['pipeline']}: {shown['topic']} -> {shown['table']}"
    if not standing.lanes:
        yield "nothing committed yet"
    if standing.layout not in (None, standing.config.lanes):
        yield str(LayoutMismatch(standing.config.name, standing.layout, standing.config.lanes))
    for lane in standing.lanes:
        if lane.suspended is not None:
            yield f"lane {lane.lane} is SUSPENDED ({lane.suspended}): {lane.reason}. {lane.suspended.remedy}."
    yield from _grid(shown["partitions"])
    yield from _grid(shown["commits"])
    if (lag := standing.lag()) is not None:
        yield f"lag: {lag:,} messages" if lag else "caught up"


def _grid(entries: object) -> Iterator[RenderableType]:
    if isinstance(entries, list) and entries:
        yield table([name.replace("_", " ") for name in entries[0]], [list(entry.values()) for entry in entries])
