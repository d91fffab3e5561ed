"""What a lake can be like before an operation of an operator's or of maintenance's, and whether the operation is done.

Each state is made from the filled lake by writing to a copy of its catalog; `CutLake` keeps one of each.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

from arrow_ingest.config import PipelineConfig
from arrow_ingest.errors import SuspendReason
from arrow_ingest.lake import dropping, lanes
from arrow_ingest.lake.findings import Code
from arrow_ingest.lake.late_rows import LATE_ROWS, NAME
from arrow_ingest.lake.own_tables import has_own
from arrow_ingest.lake.session import Lake, open_lake
from arrow_ingest.lake.staging import table_folder
from arrow_ingest.lake.statistics import METADATA
from arrow_ingest.lake.tables import LAYOUT_VERSION, META, layout_version, read_table_schema
from arrow_ingest.maintenance_settings import Step
from arrow_ingest_tests.chaos.cut_operations import delete_by_hand, tidy

ORPHAN = "lane-0-00000000-0000-4000-8000-000000000000-0.parquet"
"""In the table's folder, and in no catalog."""


class State(Enum):
    """How a lake is found."""

    FILLED = "as the runs left it"
    DELETED = "some rows were deleted by hand"
    MERGED = "files that no snapshot needs any more wait to be removed"
    SUSPENDED = "its lane waits for an operator"
    MADE_AGAIN = "its topic is not the one that its lane reads"
    OLD_LAYOUT = "its own tables are of an earlier version's layout"


def _written(statements: Callable[[Lake, PipelineConfig], object]) -> Callable[[PipelineConfig], None]:
    def write(config: PipelineConfig) -> None:
        with open_lake(config.lake) as lake:
            statements(lake, config)

    return write


def _suspend(lake: Lake, config: PipelineConfig) -> None:
    state = lanes.read_lane(lake, config.name, 0)
    assert state is not None
    lanes.suspend(lake, state, SuspendReason.DEAD_LETTER_BUDGET, "by hand")


def _name_another_topic(lake: Lake, config: PipelineConfig) -> None:
    lake.execute(f"UPDATE {lanes.lane_table(config.name, 0)} SET topic_id = 'an earlier one'")


def _make_old(lake: Lake, _: PipelineConfig) -> None:
    lake.execute(f"UPDATE {META} SET layout_version = 1")
    lake.execute(f"DROP TABLE {LATE_ROWS}")


MADE: Mapping[State, Callable[[PipelineConfig], None]] = {
    State.DELETED: delete_by_hand,
    State.MERGED: lambda config: tidy(Step.MERGE, config),
    State.SUSPENDED: _written(_suspend),
    State.MADE_AGAIN: _written(_name_another_topic),
    State.OLD_LAYOUT: _written(_make_old),
}

FOUND: Mapping[State, frozenset[Code]] = {State.MADE_AGAIN: frozenset({Code.TOPIC_ID_DIFFERS})}
"""The errors that `verify` finds in such a lake, and no more once the operation is done."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What tells that an operation is done, where the ledger's rows do not.

    Args:
        is_done: asked of a session that only reads.
        leaves_lake: False: afterwards there is no pipeline to verify any more.
    """

    is_done: Callable[[Lake, PipelineConfig], bool]
    leaves_lake: bool = True


def _is_clean(lake: Lake, _: PipelineConfig) -> bool:
    return lake.execute(f"SELECT count(*) FROM {METADATA}.ducklake_files_scheduled_for_deletion") == [(0,)]


def _goes_on(lake: Lake, config: PipelineConfig) -> bool:
    state = lanes.read_lane(lake, config.name, 0)
    return state is not None and state.suspended is None


def _has_two_lanes(lake: Lake, config: PipelineConfig) -> bool:
    return [lane.layout for lane in lanes.read_lanes(lake, config.name)] == [2, 2]


def _is_new_generation(lake: Lake, config: PipelineConfig) -> bool:
    return [lane.generation for lane in lanes.read_lanes(lake, config.name)] == [1]


def _is_of_this_layout(lake: Lake, _: PipelineConfig) -> bool:
    return layout_version(lake) == LAYOUT_VERSION and has_own(lake, NAME)


def _is_gone(lake: Lake, config: PipelineConfig) -> bool:
    """All of it; a part would be neither gone nor whole."""
    is_forgotten = dropping.held_of(lake, config.name) is None
    has_parts = bool(lanes.lane_numbers(lake, config.name)) or read_table_schema(lake, config.lake) is not None
    assert is_forgotten != has_parts
    return is_forgotten


def _has_no_orphan(lake: Lake, config: PipelineConfig) -> bool:
    folder = table_folder(lake.store, config.lake.schema_name, config.lake.table)
    return ORPHAN not in {file.name for file in lake.store.files_below(folder)}


OUTCOMES: Mapping[str, Outcome] = {
    "clean_up": Outcome(_is_clean),
    "orphans": Outcome(_has_no_orphan),
    "resume": Outcome(_goes_on),
    "rebase": Outcome(_is_new_generation),
    "lanes_apply": Outcome(_has_two_lanes),
    "migrate": Outcome(_is_of_this_layout),
    "drop": Outcome(_is_gone, leaves_lake=False),
}
