"""What all models of settings share: they are frozen, know their keys, and take what templates give."""

import re
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict


def _scalar_to_text(value: object) -> object:
    """Undo native templates: ``{{ env.PORT }}`` with the value "2" arrives as the number 2."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Text = Annotated[str, BeforeValidator(_scalar_to_text)]

CRON = re.compile(r"@(hourly|daily|weekly|monthly|yearly)|[-0-9A-Za-z*/,#?]+( +[-0-9A-Za-z*/,#?]+){4}")
"""The shape of what Dagster takes for a cron expression; Dagster itself looks at the numbers when it loads."""


class SettingsModel(BaseModel):
    """Frozen, and an unknown key is an error."""

    # Errors do not show what they refuse: it may be a password.
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, hide_input_in_errors=True)
