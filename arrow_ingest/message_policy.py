"""What becomes of messages that are no good, or whose rows are of an odd time: settings of a pipeline."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat

from arrow_ingest.setting import SettingsModel
from arrow_ingest.table_shape import PartitionBy


class DeadLetters(SettingsModel):
    """How long they stay, and the budget: over it the lane suspends.

    Both bounds of the budget must be passed, so that one bad message never stops a lane.
    """

    max_share: Annotated[float, Field(ge=0, le=1, description="Largest share of a run's messages.")] = 0.01
    max_per_run: Annotated[int, Field(ge=0, description="A run may have this many whatever their share.")] = 100
    keep_days: Annotated[
        PositiveFloat | None,
        Field(
            description="Older ones are given up by maintenance, and by `arrow-ingest dead-letters expire`. Omit to "
            "keep them until somebody says otherwise."
        ),
    ] = None


class EventTime(SettingsModel):
    """What becomes of rows that come too early or too late for their hour, day or month of event time.

    They are held against the time at which Kafka says that their message was written, not against the clock: to read a
    topic again, or to catch up with it, makes nothing late. A message is taken as a whole or refused as a whole.
    """

    out_of_range: Annotated[
        Literal["accept", "dead_letter"],
        Field(
            description="Rows before `partition_by.start`, ahead by more than max_ahead_days, or without a time. "
            "accept: the check `out_of_range_days` counts what Dagster has no partition for; dead_letter: a message "
            "with such a row becomes one (reason out_of_range)."
        ),
    ] = "accept"
    max_ahead_days: Annotated[
        NonNegativeFloat,
        Field(description="A table partition that begins later after the message was written is out of range."),
    ] = 1.0
    late: Annotated[
        Literal["accept", "dead_letter"],
        Field(
            description="Rows of a table partition that ended long ago. accept: it is materialised again, and the "
            "check `late_rows` counts them; dead_letter: a message with such a row becomes one (reason late)."
        ),
    ] = "accept"
    late_after_days: Annotated[
        NonNegativeFloat, Field(description="Days from the end of a table partition until what comes for it is late.")
    ] = 7.0

    def check_fits(self, by: PartitionBy | None) -> None:
        """Refuse to judge times where table partitions are not of time.

        Raises:
            ValueError: a policy is set that cannot apply.
        """
        refuses = "dead_letter" in (self.out_of_range, self.late)
        if refuses and (by is None or by.unit == "value"):
            raise ValueError("event_time: dead_letter needs partition_by with unit hour, day or month")
