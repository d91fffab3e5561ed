"""A number of lanes in, the lake's lanes rearranged to it in one transaction, which fences every run of the old layout.

Positions move between lanes, and nothing else: rows, dead letters and the ledger's ranges are by partition.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from arrow_ingest.errors import ConfigError, LaneSuspended
from arrow_ingest.lake import lanes, ledger
from arrow_ingest.lake.session import Lake
from arrow_ingest.lake.tables import claim
from arrow_ingest.values import CommitKind, LaneState, Position, partitions_of_lane


def apply_layout(
    lake: Lake, pipeline: str, layout: int, *, unstarted: Mapping[int, Position], run_id: str
) -> tuple[tuple[LaneState, ...], tuple[LaneState, ...]]:
    """Give the pipeline ``layout`` lanes; its lanes before and after. A lake that has them already stays as it is.

    Every lane's row is UPDATEd, so that a run of the old layout which commits at the same time is either in the
    positions that move, or fenced.

    Args:
        unstarted: where partitions of lanes that never started begin; those of started lanes are not looked at.

    Raises:
        ConfigError: no lane was ever started, or they read different topics.
        LaneSuspended: one of them waits for an operator.
        CommitConflict: nothing was changed.
        CatalogUnavailable: nothing was changed, or (a lost answer) all of it: ask again.
    """

    def apply() -> tuple[tuple[LaneState, ...], tuple[LaneState, ...]]:
        claim(lake, pipeline)
        before = lanes.read_all(lake, pipeline)
        if before and before[0].layout == layout:
            return before, before
        after = rearranged(before, layout, unstarted)
        known = {lane.lane: lane for lane in before}
        for lane in after:
            if lane.lane in known:
                lanes.move_lane(lake, known[lane.lane], lane)
            else:
                lanes.add_lane(lake, lane)
        ledger.append(lake, lanes.ledger_row(after[0], CommitKind.RELAYOUT, (), run_id))
        return before, after

    before, after = lake.write(apply)
    return active(before), active(after)


def active(all_lanes: Iterable[LaneState]) -> tuple[LaneState, ...]:
    """The lanes that their layout has."""
    return tuple(lane for lane in all_lanes if not lane.is_retired)


def rearranged(
    before: Sequence[LaneState], layout: int, unstarted: Mapping[int, Position] | None = None
) -> tuple[LaneState, ...]:
    """The lanes of a new layout, and without partitions those that it retires, by number.

    >>> old = [LaneState("events", 0, 1, 0, "id", {part: Position(10 + part) for part in range(3)})]
    >>> [(lane.lane, lane.layout, lane.offsets) for lane in rearranged(old, 2)]
    [(0, 2, {0: 10, 2: 12}), (1, 2, {1: 11})]
    >>> [(lane.lane, lane.offsets, lane.is_retired) for lane in rearranged(rearranged(old, 2), 1)]
    [(0, {0: 10, 1: 11, 2: 12}, False), (1, {}, True)]

    Raises:
        ConfigError, LaneSuspended: as `apply_layout`.
    """
    started = active(before)
    _check_agreement(started)
    positions = {part: position for lane in started for part, position in lane.positions.items()}
    numbers = {lane.lane for lane in started}
    positions |= {part: at for part, at in (unstarted or {}).items() if part % started[0].layout not in numbers}
    # One topic in several generations: a lane had lost the end of its log. Offsets go on, so the newest serves all.
    common = replace(started[0], layout=layout, generation=max(lane.generation for lane in started))
    mine = (partitions_of_lane(positions, lane, layout) for lane in range(max(layout, before[-1].lane + 1)))
    return tuple(
        replace(common, lane=lane, positions={part: positions[part] for part in parts})
        for lane, parts in enumerate(mine)
    )


def _check_agreement(started: Sequence[LaneState]) -> None:
    if not started:
        raise ConfigError("no lane was ever started, so there is no layout to change: the first run makes it")
    for lane in started:
        if lane.suspended is not None:
            waits = f"lane {lane.lane} waits for an operator, who comes before a new layout: {lane.reason}"
            raise LaneSuspended(lane.suspended, waits)
    if len({lane.topic_id for lane in started}) > 1:
        raise ConfigError(
            "the lanes read different topics of one name, which was made again: "
            f"`arrow-ingest rebase {started[0].pipeline}` comes first"
        )
