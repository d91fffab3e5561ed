"""One pipeline's settings to the names, keys and tags under which Dagster knows it. Pure."""

from dataclasses import dataclass
from enum import StrEnum

import dagster as dg

from arrow_ingest.config import PipelineConfig

PIPELINE_TAG = "arrow_ingest/pipeline"
"""Run tag: the pipeline that the run drains."""

LANE_TAG = "arrow_ingest/lane"
"""Run tag: the lane that the run drains; set by the sensor, or by the run itself when a person launched it."""

LANE_STATE_TAG = "arrow_ingest/lane_state"
"""Run tag, set by the run: why it could not drain its lane (:data:`BUSY`, :data:`LAYOUT`, or a `SuspendReason`)."""

MAINTENANCE_TAG = "arrow_ingest/maintenance"
"""Run tag: the pipeline that the run tidies. It has no lane's tags, so the lane sensor does not count it."""

BUSY = "busy"
"""Value of :data:`LANE_STATE_TAG`: another process held the lane's lock."""

LAYOUT = "layout"
"""Value of :data:`LANE_STATE_TAG`: the lake has another number of lanes than the YAML."""


class Check(StrEnum):
    """The asset checks of a table. The values are names in Dagster's history, so they are never renamed."""

    OFFSETS_CONTIGUOUS = "offsets_contiguous"
    NOT_SUSPENDED = "not_suspended"
    DEAD_LETTERS = "dead_letters"
    LAG = "lag"
    FRESHNESS = "freshness"
    SCHEMA_DRIFT = "schema_drift"
    OUT_OF_RANGE_DAYS = "out_of_range_days"
    ROWS_ACCOUNTED_FOR = "rows_accounted_for"
    LATE_ROWS = "late_rows"
    SMALL_FILES = "small_files"


PARTITION_CHECKS = (Check.ROWS_ACCOUNTED_FOR, Check.LATE_ROWS, Check.SMALL_FILES)
"""The checks that look at one table partition."""

PIPELINE_CHECKS = tuple(check for check in Check if check not in PARTITION_CHECKS)
"""The checks that look at the pipeline as a whole."""


@dataclass(frozen=True, slots=True)
class Names:
    """What the Dagster objects of one pipeline are called."""

    topic: dg.AssetKey
    table: dg.AssetKey
    maintenance: dg.AssetKey
    group: str
    op: str
    job: str
    sensor: str
    schedule: str
    alert_sensor: str
    maintenance_op: str
    maintenance_job: str
    maintenance_schedule: str
    checks_op: str
    partition_checks_op: str
    table_partitions: str
    replay_op: str
    replay_job: str
    rebuild_op: str
    rebuild_job: str

    @classmethod
    def of(cls, config: PipelineConfig) -> "Names":
        """The names of a pipeline. The table's key is what SQL calls it, with the lake attached as ``lake``."""
        name, lake = config.name, config.lake
        return cls(
            topic=dg.AssetKey(["kafka", config.kafka.topic]),
            table=dg.AssetKey(["lake", lake.schema_name, lake.table]),
            maintenance=dg.AssetKey(["lake", lake.schema_name, f"{lake.table}__maintenance"]),
            group=name,
            op=f"micro_batch_{name}",
            job=f"drain_{name}",
            sensor=f"drain_{name}_sensor",
            schedule=f"drain_{name}_schedule",
            alert_sensor=f"alerts_{name}_sensor",
            maintenance_op=f"maintain_table_{name}",
            maintenance_job=f"maintain_{name}",
            maintenance_schedule=f"maintain_{name}_schedule",
            checks_op=f"check_{name}",
            partition_checks_op=f"check_partitions_{name}",
            table_partitions=f"table_partitions_{name}",
            replay_op=f"replay_{name}",
            replay_job=f"replay_dead_letters_{name}",
            rebuild_op=f"rebuild_partitions_{name}",
            rebuild_job=f"rebuild_{name}",
        )

    def run_tags(self, lane: int) -> dict[str, str]:
        """The tags by which the runs of a lane are found again."""
        return {PIPELINE_TAG: self.group, LANE_TAG: str(lane)}
