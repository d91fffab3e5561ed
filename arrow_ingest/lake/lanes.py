"""The lanes' rows: one small table per lane, since writers of one table conflict (FACTS), with one row in it.

Whoever writes a lane's row first UPDATEs it, and what it read of it is the condition: the fence. Of two writers that
started from the same row, one changes nothing and ends. Which lanes there are is changed under `tables.claim`: of two
writers that do, one is second and looks again.
"""

import uuid
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from arrow_ingest.errors import LaneFenced, LayoutMismatch, SuspendReason
from arrow_ingest.lake import ledger
from arrow_ingest.lake.ledger import LedgerRow
from arrow_ingest.lake.schema import Column
from arrow_ingest.lake.session import Lake
from arrow_ingest.lake.sql import OWN_SCHEMA, create_table, insert, own, select_columns
from arrow_ingest.lake.tables import claim
from arrow_ingest.values import CommitKind, LaneState, OffsetRange, Position, Tally, ranges_between

ACTIVE = "active"
"""The column ``state`` of a lane that is not suspended; otherwise it holds the `SuspendReason`."""

COLUMNS = (
    Column("layout", "INTEGER"),
    Column("generation", "INTEGER"),
    Column("topic_id", "VARCHAR"),
    Column("partitions", "INTEGER[]"),
    Column("offsets", "BIGINT[]"),
    Column("leader_epochs", "INTEGER[]"),
    Column("state", "VARCHAR"),
    Column("reason", "VARCHAR"),
    Column("updated_at", "TIMESTAMP WITH TIME ZONE"),
)

_FENCED = ("layout", "generation", "topic_id", "partitions", "offsets", "state")


def lane_table(pipeline: str, lane: int) -> str:
    """The table of a lane's row.

    >>> print(lane_table("events", 0))
    lake."arrow_ingest"."lanes_events_0"
    """
    return own(_lane_name(pipeline, lane))


def read_lane(lake: Lake, pipeline: str, lane: int) -> LaneState | None:
    """A lane as the lake holds it; None: it was never started."""
    if lane not in lane_numbers(lake, pipeline):
        return None
    return _read(lake, pipeline, lane)


def read_lanes(lake: Lake, pipeline: str) -> tuple[LaneState, ...]:
    """The lanes of a pipeline's layout that were ever started, by number."""
    return tuple(lane for lane in read_all(lake, pipeline) if not lane.is_retired)


def read_all(lake: Lake, pipeline: str) -> tuple[LaneState, ...]:
    """All lanes that a pipeline ever had, by number, those that a smaller layout retired too."""
    return tuple(_read(lake, pipeline, lane) for lane in lane_numbers(lake, pipeline))


def create_lane(lake: Lake, state: LaneState) -> None:
    """Write the row of a lane that starts for the first time, in the layout of the lanes that have started.

    Raises:
        LaneFenced: the lane has a row already.
        LayoutMismatch: the others are of another layout: its partitions would be theirs too.
    """

    def create() -> None:
        claim(lake, state.pipeline)
        started = read_all(lake, state.pipeline)
        for other in started:
            if other.layout != state.layout:
                raise LayoutMismatch(state.pipeline, other.layout, state.layout)
        if any(other.lane == state.lane for other in started):
            raise LaneFenced(state.pipeline, state.lane)
        add_lane(lake, state)

    lake.write(create)


def add_lane(lake: Lake, state: LaneState) -> None:
    """Make the table and row of a lane that has none; the caller's transaction is open and holds the claim."""
    table, values = lane_table(state.pipeline, state.lane), _row_of(state)
    lake.execute(create_table(table, COLUMNS))
    lake.execute(insert(table, COLUMNS), [values[column.name] for column in COLUMNS])


def move_lane(lake: Lake, before: LaneState, after: LaneState) -> None:
    """Change a lane's row from ``before`` to ``after``; the caller's transaction is open.

    Raises:
        LaneFenced: the row is not ``before``.
    """
    expected, row = _row_of(before), _row_of(after)
    # Each column that is set costs DuckDB 1.5.5 about 1 ms, and a commit changes three.
    values = {name: value for name, value in row.items() if value != expected[name] or name == "updated_at"}
    changes = ", ".join(f'"{name}" = ?' for name in values)
    # One comparison of rows, not six of columns: with DuckLake 1.5.5 the UPDATE takes 25 ms of CPU, not 44.
    columns, marks = ", ".join(f'"{name}"' for name in _FENCED), ", ".join("?" * len(_FENCED))
    changed = lake.execute(
        f"UPDATE {lane_table(before.pipeline, before.lane)} SET {changes} WHERE row({columns}) = row({marks})",
        [*values.values(), *(expected[name] for name in _FENCED)],
    )
    if changed != [(1,)]:
        raise LaneFenced(before.pipeline, before.lane)


def suspend(lake: Lake, state: LaneState, reason: SuspendReason, detail: str) -> LaneState:
    """Stop the lane until an operator decides; the positions stay.

    Raises:
        LaneFenced: the lane moved on meanwhile.
    """
    after = replace(state, suspended=reason, reason=detail)
    lake.write(lambda: move_lane(lake, state, after))
    return after


def resume(lake: Lake, state: LaneState, *, positions: Mapping[int, Position] | None = None, run_id: str) -> LaneState:
    """Let a suspended lane go on.

    Args:
        positions: where to go on; None: where it stands. What lies between is given up: the ledger gets a row of kind
            ``gap``. A partition that is not among them is read no more.

    Raises:
        ValueError: a position lies before the stored one: rows would come twice.
        LaneFenced: the lane moved on meanwhile.
    """
    after = replace(state, positions=positions or state.positions, suspended=None, reason="")
    if back := [part for part, offset in state.offsets.items() if after.offsets.get(part, offset) < offset]:
        raise ValueError(f"partitions {back} would go back, and their rows would come twice")
    known = {part: state.offsets.get(part, after.offsets[part]) for part in after.offsets}
    given_up = ranges_between(known, after.offsets)
    _move_and_record(lake, state, after, ledger_row(after, CommitKind.GAP, given_up, run_id) if given_up else None)
    return after


def rebase(lake: Lake, state: LaneState, *, topic_id: str, positions: Mapping[int, Position], run_id: str) -> LaneState:
    """Begin a new generation: the topic was made again, and its offsets have nothing to do with the old ones.

    Raises:
        LaneFenced: the lane moved on meanwhile.
    """
    after = replace(
        state,
        generation=state.generation + 1,
        topic_id=topic_id,
        positions=positions,
        suspended=None,
        reason="",
    )
    _move_and_record(lake, state, after, ledger_row(after, CommitKind.REBASE, (), run_id))
    return after


def _move_and_record(lake: Lake, before: LaneState, after: LaneState, row: LedgerRow | None) -> None:
    def move() -> None:
        move_lane(lake, before, after)
        if row is not None:
            ledger.append(lake, row)

    lake.write(move)


def ledger_row(state: LaneState, kind: CommitKind, ranges: tuple[OffsetRange, ...], run_id: str) -> LedgerRow:
    """What an operator's decision over a lane is in the ledger: a row without messages."""
    return LedgerRow(
        commit_id=str(uuid.uuid4()),
        pipeline=state.pipeline,
        lane=state.lane,
        generation=state.generation,
        topic_id=state.topic_id,
        ranges=ranges,
        tally=Tally(),
        touched=(),
        kind=kind,
        run_id=run_id,
        committed_at=datetime.now(UTC),
    )


def _read(lake: Lake, pipeline: str, lane: int) -> LaneState:
    rows = lake.execute(f"SELECT {select_columns(COLUMNS)} FROM {lane_table(pipeline, lane)}")
    row: dict[str, Any] = dict(zip((column.name for column in COLUMNS), rows[0], strict=True))
    epochs = zip(row["offsets"], row["leader_epochs"], strict=True)
    positions = (Position(offset, epoch) for offset, epoch in epochs)
    return LaneState(
        pipeline=pipeline,
        lane=lane,
        layout=row["layout"],
        generation=row["generation"],
        topic_id=row["topic_id"],
        positions=dict(zip(row["partitions"], positions, strict=True)),
        suspended=None if row["state"] == ACTIVE else SuspendReason(row["state"]),
        reason=row["reason"],
        updated_at=row["updated_at"],
    )


def _row_of(state: LaneState) -> dict[str, object]:
    """The row, by column; lists ascend by partition."""
    partitions = sorted(state.positions)
    return {
        "layout": state.layout,
        "generation": state.generation,
        "topic_id": state.topic_id,
        "partitions": partitions,
        "offsets": [state.positions[partition].offset for partition in partitions],
        "leader_epochs": [state.positions[partition].leader_epoch for partition in partitions],
        "state": ACTIVE if state.suspended is None else state.suspended.value,
        "reason": state.reason,
        "updated_at": datetime.now(UTC),
    }


def lane_numbers(lake: Lake, pipeline: str) -> tuple[int, ...]:
    """The numbers of all lanes that a pipeline ever had, ascending."""
    prefix = _lane_name(pipeline, "")
    numbers = (name.removeprefix(prefix) for name in lake.names_in(OWN_SCHEMA) if name.startswith(prefix))
    return tuple(sorted(int(number) for number in numbers if number.isdecimal()))


def _lane_name(pipeline: str, lane: int | str) -> str:
    """Unambiguous, whatever the pipeline's name is: the number after the last underscore is the lane."""
    return f"lanes_{pipeline}_{lane}"
