"""When a pipeline's table and the lake's own tables are tidied up, and how far: the YAML's ``maintenance``.

The defaults keep a stream of 10,000 rows/s healthy for months; `test_maintenance_weeks` simulates them.
"""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import (
    ByteSize,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from arrow_ingest.setting import CRON, SettingsModel, Text

MIB = 1024 * 1024
GIB = 1024 * MIB

ORPHAN_DAYS = 7.0
"""The least age of a file that orphan removal takes; a staged file older than a quarter of it is never committed."""


class Step(StrEnum):
    """The steps of maintenance, in the order in which they are done."""

    ROTATE = "rotate"
    ROLL_UP = "roll_up"
    MERGE = "merge"
    REWRITE = "rewrite"
    LETTERS = "letters"
    EXPIRE = "expire"
    CLEAN_UP = "clean_up"
    ORPHANS = "orphans"


class Merge(SettingsModel):
    """Small files of a table partition become few."""

    target_file_bytes: Annotated[ByteSize, Field(ge=1, description="Size that files are merged towards.")] = ByteSize(
        128 * MIB
    )
    small_file_bytes: Annotated[ByteSize, Field(ge=1, description="Only files below this size are merged.")] = ByteSize(
        64 * MIB
    )
    leave_newest: Annotated[
        NonNegativeInt,
        Field(
            description="Hours, days or months (of `partition_by.unit`) that are left alone, the present one counted."
        ),
    ] = 1
    min_files: Annotated[PositiveInt, Field(description="Stop when a merge would save fewer files.")] = 4
    max_bytes: Annotated[ByteSize, Field(ge=1, description="Bytes that one run reads to merge them.")] = ByteSize(
        64 * GIB
    )
    warn_files: Annotated[
        PositiveInt, Field(description="Small files in one table partition that the check small_files warns of.")
    ] = 100

    @model_validator(mode="after")
    def _small_is_below_target(self) -> "Merge":
        if self.small_file_bytes * 2 > self.target_file_bytes:
            raise ValueError("small_file_bytes may be at most half of target_file_bytes, or files are merged for ever")
        return self


class Rewrite(SettingsModel):
    """Files that lost many rows to DELETE or UPDATE are written again without them."""

    min_deleted_share: Annotated[float, Field(gt=0, le=1, description="Share of a file's rows that are deleted.")] = 0.1
    max_bytes: Annotated[ByteSize, Field(ge=1, description="Bytes that one run reads to rewrite them.")] = ByteSize(
        4 * GIB
    )


class Snapshots(SettingsModel):
    """What time travel reaches; of several pipelines in one lake, the one that keeps most counts."""

    keep_days: Annotated[PositiveFloat, Field(description="Snapshots of this age or younger are kept.")] = 7.0
    keep_count: Annotated[PositiveInt, Field(description="So many of the newest are kept, whatever their age.")] = 100

    @property
    def keep_for(self) -> timedelta:
        """Age up to which snapshots are kept."""
        return timedelta(days=self.keep_days)


class Files(SettingsModel):
    """When files that nothing refers to are removed."""

    old_after_days: Annotated[
        float,
        Field(ge=1, description="Age of files that no snapshot needs any more; long queries may still read them."),
    ] = 2.0
    orphans_after_days: Annotated[
        float, Field(ge=ORPHAN_DAYS, description="Age of staged files that never became part of a snapshot.")
    ] = ORPHAN_DAYS
    max_files: Annotated[PositiveInt, Field(description="Files that one run removes, of each kind.")] = 100_000


class LedgerKeep(SettingsModel):
    """How long the ledger tells single commits; older ones become one row, with their ranges and sums."""

    keep_days: Annotated[float, Field(ge=1, description="Age up to which each commit has a row of its own.")] = 2.0
    volume_commits: Annotated[
        PositiveInt, Field(description="Commits after which a new table of the ledger is begun.")
    ] = 1_000


class Runs(SettingsModel):
    """How long Dagster keeps a pipeline's finished runs and their events."""

    keep_days: Annotated[
        float | None,
        Field(
            ge=1,
            description="Finished runs of this age or younger are kept, and whatever age, those that hold the newest "
            "materialisation of a partition. null: all runs are kept.",
        ),
    ] = 90.0


class Maintenance(SettingsModel):
    """Tidying up, beside the lanes that ingest."""

    schedule: Annotated[
        Text | None,
        Field(
            description="Cron expression in UTC (with quotes) at which Dagster starts it; null: never by itself. Early "
            "in the day, few files belong to the day that is left alone."
        ),
    ] = "20 0 * * *"
    steps: Annotated[tuple[Step, ...], Field(description="What is done, whatever their order here.")] = tuple(Step)
    max_seconds: Annotated[PositiveFloat, Field(description="Nothing new is begun after this long.")] = 7_200.0
    lock_wait_seconds: Annotated[
        NonNegativeFloat,
        Field(description="How long to wait for a run that drains a lane, or for another maintenance, to end."),
    ] = 420.0
    rotate_after: Annotated[
        PositiveInt, Field(description="Dead versions of a small table's rows after which it is made anew.")
    ] = 1_000
    merge: Annotated[Merge, Field(description="Merging of small files.")] = Merge()
    rewrite: Annotated[Rewrite, Field(description="Rewriting of files with deleted rows.")] = Rewrite()
    snapshots: Annotated[Snapshots, Field(description="Expiry of snapshots.")] = Snapshots()
    files: Annotated[Files, Field(description="Removal of files.")] = Files()
    ledger: Annotated[LedgerKeep, Field(description="Roll-up of the ledger.")] = LedgerKeep()
    runs: Annotated[Runs, Field(description="Old runs in Dagster, deleted when Dagster runs the maintenance.")] = Runs()

    @field_validator("schedule")
    @classmethod
    def _cron(cls, value: str | None) -> str | None:
        if value is not None and not CRON.fullmatch(value):
            raise ValueError(f"{value!r} is no cron expression of five fields, such as '20 0 * * *'")
        return value

    @field_validator("steps")
    @classmethod
    def _in_their_order(cls, value: tuple[Step, ...]) -> tuple[Step, ...]:
        return tuple(step for step in Step if step in value)
