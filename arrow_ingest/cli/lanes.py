"""`arrow-ingest lanes apply`: the YAML's number of lanes to the lake's."""

import click

from arrow_ingest.cli.options import Common, common, waits
from arrow_ingest.cli.output import print_json, print_people
from arrow_ingest.cli.runs import new_run_id
from arrow_ingest.values import LaneState


@click.group()
def lanes() -> None:
    """How many runs drain a topic side by side. The YAML says it; `apply` moves the lake there."""


@lanes.command()
@click.argument("pipeline", required=False)
@waits("runs that drain the lanes now")
@click.option("--force", is_flag=True, help="Do not wait: fence those runs; the new lanes read again what they lose.")
@common
def apply(options: Common, pipeline: str | None, wait_seconds: float | None, *, force: bool) -> None:
    """Give PIPELINE's lake the `lanes` of the YAML, in one transaction.

    Offsets, rows and dead letters stay as they are; partitions change hands. Runs of the old layout that are still
    alive are fenced: nothing is lost or repeated. Load the changed YAML in Dagster first, so that it starts no further
    run of the old layout.
    """
    from arrow_ingest.pipeline.lane_locks import longest_run_seconds
    from arrow_ingest.pipeline.relayout import apply_lanes

    config = options.pipeline(pipeline)
    before, after = apply_lanes(
        config,
        run_id=new_run_id(),
        wait_seconds=longest_run_seconds(config) if wait_seconds is None else wait_seconds,
        force=force,
    )
    if options.as_json:
        print_json(document(before, after))
    elif before == after:
        print_people(f"the lake has {config.lanes} lanes already, as the YAML says")
    else:
        print_people(f"{config.name} had {before[0].layout} lanes and has {config.lanes} now", *map(_sentence, after))


def document(before: tuple[LaneState, ...], after: tuple[LaneState, ...]) -> dict[str, object]:
    """What `--json` shows."""
    return {
        "pipeline": after[0].pipeline,
        "was": before[0].layout,
        "layout": after[0].layout,
        "lanes": [{"lane": lane.lane, "generation": lane.generation, "next": lane.offsets} for lane in after],
    }


def _sentence(lane: LaneState) -> str:
    places = ", ".join(f"{partition}:{offset}" for partition, offset in lane.offsets.items())
    return f"lane {lane.lane} reads on at {places}" if places else f"lane {lane.lane} has no partition"
