"""What becomes of messages that are no good: settings of a pipeline."""

from typing import Annotated

from pydantic import Field, PositiveFloat

from arrow_ingest.setting import SettingsModel


class DeadLetters(SettingsModel):
    """How long they stay, and the budget: over it the lane suspends.

    Both bounds of the budget must be passed, so that one bad message never stops a lane.
    """

    max_share: Annotated[float, Field(ge=0, le=1, description="Largest share of a run's messages.")] = 0.01
    max_per_run: Annotated[int, Field(ge=0, description="A run may have this many whatever their share.")] = 100
    keep_days: Annotated[
        PositiveFloat | None,
        Field(
            description="Older ones are given up by `arrow-ingest dead-letters expire`. Omit to keep them until "
            "somebody says otherwise."
        ),
    ] = None
