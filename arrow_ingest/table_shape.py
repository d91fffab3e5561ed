"""What a table looks like: how it is partitioned, and which columns say where its rows came from."""

import re
from datetime import date
from typing import Annotated, Literal, get_args

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from arrow_ingest.setting import SettingsModel, Text

TABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")

MetadataColumn = Literal[
    "_inserted_at",
    "_kafka_generation",
    "_kafka_partition",
    "_kafka_offset",
    "_kafka_row",
    "_kafka_timestamp",
    "_kafka_key",
    "_kafka_headers",
]
IDENTITY_COLUMNS: tuple[MetadataColumn, ...] = ("_kafka_generation", "_kafka_partition", "_kafka_offset", "_kafka_row")
"""What names a row for ever; `verify` counts distinct messages by them."""

DEFAULT_METADATA_COLUMNS: tuple[MetadataColumn, ...] = ("_inserted_at", *IDENTITY_COLUMNS, "_kafka_timestamp")
"""Without key and headers: they are other people's data, repeated in every row of their message."""

ALL_METADATA_COLUMNS: tuple[MetadataColumn, ...] = get_args(MetadataColumn)


class PartitionBy(SettingsModel):
    """How the table is partitioned: by event time in UTC, or by the values of a column."""

    column: Annotated[
        Text,
        Field(
            min_length=1,
            description="The column. For a unit of time a timestamp with zone (see `columns`); for value text, "
            "integers, booleans or dates.",
        ),
    ]
    unit: Annotated[
        Literal["hour", "day", "month", "value"],
        Field(description="Size of one table partition; value: one for every value, of which there should be few."),
    ] = "day"
    start: Annotated[
        date | None,
        Field(
            description="First partition that Dagster knows; earlier ones are in the lake all the same. Required for "
            "hour, day and month; with value, Dagster learns the partitions as they appear."
        ),
    ] = None

    @field_validator("unit")
    @classmethod
    def _value_names_folders(cls, value: str, given: ValidationInfo) -> str:
        column = given.data.get("column", "")
        if value == "value" and column and not TABLE_NAME.fullmatch(column):
            # Measured: DuckLake does not read other names back from the folder `name=value`.
            raise ValueError(f"column {column!r} would name folders, so it must match {TABLE_NAME.pattern}")
        return value

    @field_validator("start")
    @classmethod
    def _start_goes_with_time(cls, value: date | None, given: ValidationInfo) -> date | None:
        unit = given.data.get("unit")
        if unit == "value" and value is not None:
            raise ValueError("start belongs to units of time; leave it out with unit: value")
        if unit not in (None, "value") and value is None:
            raise PydanticCustomError("missing", "this setting is required with a unit of time")
        return value
