"""What is told of a pipeline's incidents, to whom and how often: a part of its settings."""

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from arrow_ingest import environment
from arrow_ingest.setting import SettingsModel, Text

Severity = Literal["warn", "error"]


class AlertTarget(SettingsModel):
    """Where alerts go."""

    variable: Annotated[
        Text,
        Field(
            pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
            description="The environment variable that holds the addresses, as apprise knows them, with white space "
            "between them. They hold secrets, so they never stand here.",
        ),
    ] = environment.ALERT_URLS
    severity: Annotated[
        Severity | None,
        Field(description="Incidents of this severity and above go there, and their end; null: as `min_severity`."),
    ] = None


class Alerts(SettingsModel):
    """What is sent when something is wrong, to whom, and where its links lead."""

    min_severity: Annotated[
        Severity, Field(description="Failed checks of this severity and above are sent; all else is an error.")
    ] = "warn"
    targets: Annotated[
        tuple[AlertTarget, ...],
        Field(description="Who is told what, as in `[{variable: PAGER_URLS, severity: error}]`."),
    ] = (AlertTarget(),)
    max_messages: Annotated[
        PositiveInt,
        Field(description="Messages that one target gets in `per_minutes`; the last of them lists all that wait."),
    ] = 10
    per_minutes: Annotated[PositiveFloat, Field(description="The time that `max_messages` counts in.")] = 10.0
    stale_lane_seconds: Annotated[
        PositiveFloat | None,
        Field(
            description="A lane is stale when no run of it has run or ended for so long, the lane's sensor being on; "
            "null: never. Not with a cron trigger."
        ),
    ] = 1_800.0
    base_url: Annotated[
        Text, Field(pattern=r"^https?://\S+$", description="Address of Dagster's UI, for the links in a message.")
    ] = "http://127.0.0.1:3000"

    @property
    def lowest_severity(self) -> Severity:
        """What at least one target wants to hear of."""
        wanted = {target.severity or self.min_severity for target in self.targets}
        return "warn" if "warn" in wanted else "error"
