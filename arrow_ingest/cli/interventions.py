"""`arrow-ingest resume` and `arrow-ingest rebase`: an operator's answer to a suspended lane."""

import re
from collections.abc import Sequence

import click

from arrow_ingest.cli.options import Common, common
from arrow_ingest.cli.output import print_json, print_people
from arrow_ingest.cli.runs import new_run_id
from arrow_ingest.config import PipelineConfig
from arrow_ingest.errors import ConfigError, NothingToRebase
from arrow_ingest.pipeline import interventions
from arrow_ingest.pipeline.standing import lanes_of
from arrow_ingest.values import LaneState, ranges_between


def offsets_by_partition(
    ctx: click.Context | None, param: click.Parameter | None, given: Sequence[str]
) -> dict[int, int]:
    """``PARTITION:OFFSET`` of an option as numbers.

    >>> offsets_by_partition(None, None, ["3:120"])
    {3: 120}
    """
    found: dict[int, int] = {}
    for text in given:
        match = re.fullmatch(r"(\d+):(\d+)", text)
        if match is None:
            raise click.BadParameter(f"{text!r} is not PARTITION:OFFSET, such as 3:120", ctx, param)
        found[int(match[1])] = int(match[2])
    return found


@click.command()
@click.argument("pipeline", required=False)
@click.option("--lane", type=click.IntRange(min=0), help="This lane only. Default: every lane that is suspended.")
@click.option("--accept-loss", is_flag=True, help="Go on behind records that are gone; the ledger keeps the gap.")
@click.option(
    "--skip-to",
    multiple=True,
    metavar="PARTITION:OFFSET",
    callback=offsets_by_partition,
    help="With --accept-loss: go on here, behind a record that cannot be read. Can be repeated.",
)
@common
def resume(
    options: Common, pipeline: str | None, lane: int | None, *, accept_loss: bool, skip_to: dict[int, int]
) -> None:
    """Let the suspended lanes of PIPELINE go on where they stopped.

    Refused (4) while what suspended them is still there. Records that are gone or cannot be read are given up by the
    operator's word only. A topic that was made again, or lost records that the lake has, takes `rebase`.
    """
    config = options.pipeline(pipeline)
    suspended = [state for state in _started(config, lane) if state.suspended is not None]
    known = {partition for state in suspended for partition in state.positions}
    if skip_to and not (accept_loss and known.issuperset(skip_to)):
        raise ConfigError("--skip-to needs --accept-loss, and partitions of a suspended lane")
    changes = [
        interventions.resume(
            config,
            state.lane,
            run_id=new_run_id(),
            accept_loss=accept_loss,
            skip_to={partition: offset for partition, offset in skip_to.items() if partition in state.positions},
        )
        for state in suspended
    ]
    _report(options, changes, "goes on", nothing="no lane is suspended")


@click.command()
@click.argument("pipeline", required=False)
@click.option("--lane", type=click.IntRange(min=0), help="This lane only. Default: all.")
@common
def rebase(options: Common, pipeline: str | None, lane: int | None) -> None:
    """Begin a new generation of PIPELINE's lanes, for a topic that was made again or lost its end.

    Lanes that read the topic as it is stay as they are, and so do rows of earlier generations. Reading goes on at the
    start of a new topic, or where a log that lost its end ends now.
    """
    config = options.pipeline(pipeline)
    changes: list[tuple[LaneState, LaneState]] = []
    refused: NothingToRebase | None = None
    for state in _started(config, lane):
        try:
            changes.append(interventions.rebase(config, state.lane, run_id=new_run_id()))
        except NothingToRebase as error:  # of several lanes, one may have been rebased before
            refused = error
    if refused is not None and not changes:
        raise refused
    _report(options, changes, "begins a new generation", nothing="nothing committed yet")


def _started(config: PipelineConfig, lane: int | None) -> list[LaneState]:
    return [state for state in lanes_of(config) if lane in (None, state.lane)]


def _report(options: Common, changes: Sequence[tuple[LaneState, LaneState]], verb: str, *, nothing: str) -> None:
    shown = [_document(before, after) for before, after in changes]
    if options.as_json:
        print_json(shown)
    elif not shown:
        print_people(nothing)
    else:
        print_people(*(f"lane {after.lane} {verb}, and reads on at {_places(after)}" for _, after in changes))


def _places(lane: LaneState) -> str:
    return ", ".join(f"{partition}:{offset}" for partition, offset in lane.offsets.items())


def _document(before: LaneState, after: LaneState) -> dict[str, object]:
    gone = [] if after.generation != before.generation else _given_up(before, after)
    return {
        "pipeline": after.pipeline,
        "lane": after.lane,
        "was": before.suspended,
        "generation": after.generation,
        "next": after.offsets,
        "given_up": gone,
    }


def _given_up(before: LaneState, after: LaneState) -> list[dict[str, int]]:
    start = {partition: before.offsets.get(partition, offset) for partition, offset in after.offsets.items()}
    return [
        {"partition": lost.partition, "start": lost.start, "stop": lost.stop}
        for lost in ranges_between(start, after.offsets)
    ]
