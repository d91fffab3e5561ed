"""One SQL model's settings: a mapping in, a frozen :class:`ModelConfig` out; with its pipeline's, a :class:`SqlModel`.

A model is a table of the lake that a query over a pipeline's table gives, one table partition at a time. Every field's
description is its line in the documentation.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeInt, field_validator, model_validator

from arrow_ingest.config import IDENTIFIER, LakeConfig, PipelineConfig
from arrow_ingest.setting import CRON, SettingsModel, Text
from arrow_ingest.table_shape import TABLE_NAME, PartitionBy

TimeUnit = Literal["hour", "day", "month"]

ON_CHANGE, BY_HAND = "on_change", "by_hand"

Value = bool | int | float | str


class ModelPartition(SettingsModel):
    """How the model's table is partitioned: by the same hours, days or months as the pipeline's table, in UTC."""

    column: Annotated[
        Text,
        Field(
            min_length=1,
            description="Column of the query that says which table partition a row is of: a DATE (for days and months) "
            "or a timestamp with zone.",
        ),
    ]


class Reads(SettingsModel):
    """Which table partitions of the pipeline's table one of the model's is computed from, beside its own."""

    before: Annotated[NonNegativeInt, Field(le=31, description="How many partitions before it.")] = 0
    after: Annotated[NonNegativeInt, Field(le=31, description="How many partitions after it.")] = 0


class AcceptedRange(SettingsModel):
    """Bounds of a column; NULL is in every range."""

    column: Annotated[Text, Field(description="The column.")]
    min: Annotated[float | None, Field(description="The least value; omit for none.")] = None
    max: Annotated[float | None, Field(description="The largest value; omit for none.")] = None

    @model_validator(mode="after")
    def _has_a_bound(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("give min, max or both")
        return self


class AcceptedValues(SettingsModel):
    """What a column may hold; NULL is always accepted."""

    column: Annotated[Text, Field(description="The column.")]
    values: Annotated[tuple[Value, ...], Field(min_length=1, description="The values.")]


class ModelCheck(SettingsModel):
    """What has to hold of every table partition: one of not_null, unique, accepted_range, accepted_values, bad_rows."""

    name: Annotated[
        Text | None, Field(description="Its name in Dagster; by default from the kind and the columns.")
    ] = None
    not_null: Annotated[tuple[Text, ...], Field(description="Columns that hold no NULL.")] = ()
    unique: Annotated[
        tuple[Text, ...], Field(description="Columns whose values together come once in a table partition.")
    ] = ()
    accepted_range: Annotated[AcceptedRange | None, Field(description="Bounds of a column.")] = None
    accepted_values: Annotated[AcceptedValues | None, Field(description="What a column may hold.")] = None
    bad_rows: Annotated[
        Text | None,
        Field(description="A query over `model`, the rows of one table partition; each row that it gives is a fault."),
    ] = None
    severity: Annotated[
        Literal["error", "warn"],
        Field(
            description="error: it blocks; rows that fail it are not committed, the table stays as it was, the run "
            "fails. warn: it is told."
        ),
    ] = "error"

    @model_validator(mode="after")
    def _is_one_check(self) -> Self:
        kinds = ("not_null", "unique", "accepted_range", "accepted_values", "bad_rows")
        given = [kind for kind in kinds if getattr(self, kind)]
        if len(given) != 1:
            raise ValueError(f"a check is exactly one of {', '.join(kinds)}; here are {len(given)}")
        if self.bad_rows and not self.name:
            raise ValueError("a check with bad_rows needs a name")
        if not IDENTIFIER.fullmatch(self.key):
            raise ValueError(f"name: {self.key!r} must match {IDENTIFIER.pattern}: give the check another name")
        return self

    @property
    def key(self) -> str:
        """Its name in Dagster.

        >>> ModelCheck(not_null=("day", "event")).key, ModelCheck(accepted_range={"column": "users", "min": 0}).key
        ('not_null_day_event', 'accepted_range_users')
        """
        if self.name is not None:
            return self.name
        of_one = self.accepted_range or self.accepted_values
        columns = self.not_null or self.unique or ((of_one.column,) if of_one else ())
        kind = "not_null" if self.not_null else "unique" if self.unique else "accepted_range"
        kind = "accepted_values" if self.accepted_values else kind
        return "_".join((kind, *columns)).lower()


class ModelConfig(SettingsModel):
    """One query to one table, a table partition at a time."""

    name: Annotated[Text, Field(description="Names op, checks and sensor; cannot change later.")]
    pipeline: Annotated[Text, Field(description="The pipeline whose table is queried; its lake holds the model too.")]
    table: Annotated[
        Text | None,
        Field(description="The table, as TABLE or SCHEMA.TABLE; by default the name, in the schema of the pipeline's."),
    ] = None
    description: Annotated[Text | None, Field(description="What Dagster says of the table.")] = None
    partition_by: Annotated[ModelPartition, Field(description="How the table is partitioned.")]
    sql: Annotated[
        Text | None,
        Field(
            description="One query that gives the rows of one table partition, `$start` (inclusive) to `$stop` "
            "(exclusive), which are timestamps with zone. Tables without a schema are looked up in the schema of the "
            "pipeline's table."
        ),
    ] = None
    sql_file: Annotated[
        Text | None, Field(description="The file that holds the query, in place of `sql`; from the YAML's folder.")
    ] = None
    reads: Annotated[Reads, Field(description="What beside its own hours, days or months a partition is made of.")] = (
        Reads()
    )
    refresh: Annotated[
        Text,
        Field(
            description="When table partitions are computed anew by themselves. on_change: once new rows "
            'of them are published; a cron expression in UTC, such as "*/5 * * * *": the same, but at most once a '
            "tick; by_hand: never."
        ),
    ] = ON_CHANGE
    checks: Annotated[tuple[ModelCheck, ...], Field(description="What has to hold of its rows.")] = ()
    lineage: Annotated[
        dict[Text, tuple[Text, ...]],
        Field(
            description="Column to the columns of the pipeline's table that it comes from; where a column is left out, "
            "the query tells."
        ),
    ] = {}  # noqa: RUF012  pydantic copies defaults

    @field_validator("name")
    @classmethod
    def _plain_name(cls, value: str) -> str:
        if not IDENTIFIER.fullmatch(value):
            raise ValueError(f"{value!r} must match {IDENTIFIER.pattern}: it names an op, checks and a sensor")
        return value

    @field_validator("table")
    @classmethod
    def _plain_table(cls, value: str | None) -> str | None:
        parts = [] if value is None else value.split(".")
        if len(parts) > 2 or not all(TABLE_NAME.fullmatch(part) for part in parts):
            raise ValueError(f"{value!r} is neither TABLE nor SCHEMA.TABLE of letters, digits and underscores")
        if parts and (parts[-1].endswith("__dead_letters") or (len(parts) == 2 and parts[0].lower() == "arrow_ingest")):
            raise ValueError(f"{value!r} belongs to arrow_ingest itself; choose another one")
        return value

    @field_validator("refresh")
    @classmethod
    def _known_refresh(cls, value: str) -> str:
        if value not in (ON_CHANGE, BY_HAND) and not CRON.fullmatch(value):
            raise ValueError(f"{value!r} is neither {ON_CHANGE}, {BY_HAND} nor a cron expression of five fields")
        return value

    @field_validator("checks")
    @classmethod
    def _one_name_each(cls, value: tuple[ModelCheck, ...]) -> tuple[ModelCheck, ...]:
        keys = [check.key for check in value]
        if twice := sorted({key for key in keys if keys.count(key) > 1}):
            raise ValueError(f"two checks are called {', '.join(twice)}: give them names")
        return value

    @model_validator(mode="after")
    def _has_one_query(self) -> Self:
        if (self.sql is None) == (self.sql_file is None):
            raise ValueError("give either sql or sql_file")
        return self


@dataclass(frozen=True, slots=True)
class SqlModel:
    """A model and the pipeline that it is of.

    Args:
        sql: the query, wherever it stood.
    """

    config: ModelConfig
    pipeline: PipelineConfig
    sql: str

    def __post_init__(self) -> None:
        by = self.pipeline.partition_by
        if by is None or by.unit == "value":
            raise ValueError(
                f"pipeline: {self.pipeline.name} is not partitioned by time, and a model is computed hour by hour, day "
                "by day or month by month"
            )
        lake, source = self.lake, self.pipeline.lake
        if (lake.schema_name.lower(), lake.table.lower()) == (source.schema_name.lower(), source.table.lower()):
            raise ValueError(f"table: {source.schema_name}.{source.table} is the pipeline's own table")

    @property
    def name(self) -> str:
        """The model's name."""
        return self.config.name

    @property
    def lake(self) -> LakeConfig:
        """Where its table is."""
        source = self.pipeline.lake
        schema, _, table = (self.config.table or self.config.name).rpartition(".")
        return source.model_copy(update={"schema_name": schema or source.schema_name, "table": table})

    @property
    def unit(self) -> TimeUnit:
        """Size of one table partition."""
        unit = self.partition_by.unit
        assert unit != "value", "refused at birth"
        return unit

    @property
    def partition_by(self) -> PartitionBy:
        """How its table is partitioned."""
        by = self.pipeline.partition_by
        assert by is not None, "refused at birth"
        return by.model_copy(update={"column": self.config.partition_by.column})

    @property
    def code_version(self) -> str:
        """Changes when the same rows would give others."""
        shaping = [self.sql, self.config.partition_by.column, self.config.reads.before, self.config.reads.after]
        return hashlib.sha256(json.dumps(shaping).encode()).hexdigest()[:12]
