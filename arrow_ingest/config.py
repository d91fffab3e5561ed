"""One pipeline's settings: the contract between YAML, CLI, component and documentation.

A mapping goes in, a frozen :class:`PipelineConfig` comes out, or a ``pydantic.ValidationError`` whose locations
``arrow_ingest.project`` turns into file, line and key. Every field's description is its line in the documentation.
"""

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import (
    ByteSize,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from arrow_ingest.alert_settings import Alerts
from arrow_ingest.lake_address import CatalogAddress, DataPath, S3Config
from arrow_ingest.maintenance_settings import Maintenance
from arrow_ingest.message_policy import DeadLetters, EventTime
from arrow_ingest.setting import CRON, SettingsModel, Text
from arrow_ingest.table_shape import (
    ALL_METADATA_COLUMNS,
    DEFAULT_METADATA_COLUMNS,
    IDENTITY_COLUMNS,
    TABLE_NAME,
    MetadataColumn,
    PartitionBy,
)

MIB = 1024 * 1024

IDENTIFIER = re.compile(r"[a-z][a-z0-9_]{0,47}")
"""Pipeline names stand inside table, job, sensor and group names, so they are plain."""

SENSOR = "sensor"

RESERVED_PROPERTIES = frozenset(
    {
        "bootstrap.servers",
        "group.id",
        "enable.auto.commit",
        "enable.auto.offset.store",
        "enable.partition.eof",
        "isolation.level",
        "auto.offset.reset",
        "check.crcs",
    }
)
"""librdkafka properties that exactly-once rests on, so the YAML cannot set them."""


class KafkaConfig(SettingsModel):
    """Where the records come from."""

    topic: Annotated[
        Text, Field(min_length=1, max_length=249, description="The topic; one Arrow IPC stream a message.")
    ]
    bootstrap_servers: Annotated[Text, Field(min_length=1, description="host:port of one or more brokers, by comma.")]
    properties: Annotated[
        dict[str, Text],
        # Not in the repr: there may be passwords in it.
        Field(
            repr=False, description="Any other librdkafka property, such as security.protocol; handed through as it is."
        ),
    ] = {}  # noqa: RUF012  pydantic copies defaults
    max_queued_bytes: Annotated[
        ByteSize, Field(ge=MIB, description="Bytes that librdkafka fetches ahead of what is decoded.")
    ] = ByteSize(32 * MIB)

    @field_validator("properties", mode="before")
    @classmethod
    def _as_librdkafka_spells_them(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {key: str(item).lower() if isinstance(item, bool) else item for key, item in value.items()}

    @field_validator("properties")
    @classmethod
    def _not_reserved(cls, value: dict[str, str]) -> dict[str, str]:
        if reserved := sorted(RESERVED_PROPERTIES & value.keys()):
            raise ValueError(f"{', '.join(reserved)} cannot be set: exactly-once rests on arrow_ingest's own value")
        return value


class LakeConfig(SettingsModel):
    """Where the rows go."""

    catalog: Annotated[
        CatalogAddress,
        Field(
            min_length=1,
            description="`sqlite:PATH` of the DuckLake catalog; a bare path means the same. A relative path counts "
            "from the folder of the project's pyproject.toml; outside a project, from the current folder. Or "
            "`postgres:DSN`, in either of libpq's forms, of PostgreSQL 14 or newer; the password comes from PGPASSWORD "
            "or PGPASSFILE, and never stands here.",
        ),
    ]
    data_path: Annotated[
        DataPath,
        Field(
            min_length=1, description="Folder of the Parquet files, relative as `catalog` is; or `s3://bucket/prefix/`."
        ),
    ]
    s3: Annotated[S3Config, Field(description="How an `s3://` data path is reached.")] = S3Config()
    schema_name: Annotated[Text, Field(alias="schema", description="The table's schema.")] = "main"
    table: Annotated[Text, Field(description="The table.")]

    model_config = ConfigDict(populate_by_name=True)

    @field_validator("schema_name", "table")
    @classmethod
    def _plain_name(cls, value: str) -> str:
        if not TABLE_NAME.fullmatch(value):
            raise ValueError(
                f"{value!r} is not a plain name: letters, digits and underscores, at most 63, no digit first"
            )
        return value

    @field_validator("schema_name")
    @classmethod
    def _not_ours(cls, value: str) -> str:
        if value.lower() == "arrow_ingest":
            raise ValueError("the schema arrow_ingest holds the ledger; choose another one for the table")
        return value

    @field_validator("table")
    @classmethod
    def _not_dead_letters(cls, value: str) -> str:
        if value.endswith("__dead_letters"):
            raise ValueError("names ending in __dead_letters belong to the dead letters of another table")
        return value


class Flush(SettingsModel):
    """When a micro-batch is committed; whichever comes first."""

    max_bytes: Annotated[
        ByteSize,
        Field(
            ge=1,
            description="Payload bytes in one micro-batch. `writer: insert`, which holds them in memory, commits at "
            "`max_in_flight_bytes` too.",
        ),
    ] = ByteSize(256 * MIB)
    max_age_seconds: Annotated[PositiveFloat, Field(description="Age of its first message.")] = 10.0


class Run(SettingsModel):
    """How long one run lives."""

    trigger: Annotated[
        Text,
        Field(
            description="What starts runs. sensor: one per lane while there is work; a cron expression in UTC, such as "
            '"*/10 * * * *" (with quotes): one per lane at these times.'
        ),
    ] = SENSOR
    until: Annotated[
        Literal["micro_batch", "caught_up", "deadline"],
        Field(
            description="micro_batch: one commit; caught_up: the end as seen at the start; deadline: max_run_seconds."
        ),
    ] = "deadline"
    max_run_seconds: Annotated[PositiveFloat, Field(description="A run ends itself after this long.")] = 300.0
    linger_seconds: Annotated[
        NonNegativeFloat, Field(description="How long an idle run waits for more, since a new process costs seconds.")
    ] = 20.0
    report_every_seconds: Annotated[PositiveFloat, Field(description="How often the run publishes to Dagster.")] = 15.0

    @field_validator("trigger")
    @classmethod
    def _sensor_or_cron(cls, value: str) -> str:
        if value != SENSOR and not CRON.fullmatch(value):
            raise ValueError(
                f"{value!r} is neither {SENSOR} nor a cron expression of five fields, such as '*/10 * * * *'"
            )
        return value

    @property
    def cron(self) -> str | None:
        """The cron expression that starts runs; None: the sensor does."""
        return None if self.trigger == SENSOR else self.trigger


class Limits(SettingsModel):
    """What an untrusted payload may claim, checked before anything is allocated."""

    max_message_bytes: Annotated[ByteSize, Field(ge=1, description="Payload bytes of one message.")] = ByteSize(
        16 * MIB
    )
    max_rows: Annotated[PositiveInt, Field(description="Rows of one message, all its record batches together.")] = (
        1_000_000
    )
    max_logical_bytes: Annotated[
        ByteSize, Field(ge=1, description="Bytes of one message after decompression and expansion.")
    ] = ByteSize(256 * MIB)
    max_columns: Annotated[PositiveInt, Field(description="Top-level columns.")] = 2_000
    max_fields: Annotated[PositiveInt, Field(description="Fields of all depths together.")] = 10_000
    max_schema_bytes: Annotated[
        ByteSize, Field(ge=1, description="Names and metadata of a schema, counted as often as they are referred to.")
    ] = ByteSize(4 * MIB)
    max_depth: Annotated[PositiveInt, Field(description="Nesting of types; a flat column has depth 1.")] = 16
    max_dictionaries: Annotated[PositiveInt, Field(description="Dictionary batches in one message.")] = 256
    max_batches: Annotated[PositiveInt, Field(description="Record batches in one message.")] = 1_024
    max_table_partitions: Annotated[PositiveInt, Field(description="Table partitions that its rows may fall into.")] = (
        400
    )
    max_name_length: Annotated[PositiveInt, Field(description="Characters of a column's or field's name.")] = 255


class Parquet(SettingsModel):
    """The Parquet files that are staged."""

    compression: Annotated[
        Literal["zstd", "snappy", "lz4", "gzip", "none"], Field(description="Codec of the column chunks.")
    ] = "zstd"
    compression_level: Annotated[
        int | None, Field(description="Level for codecs that have one; None: the codec's own.")
    ] = None
    row_group_rows: Annotated[PositiveInt, Field(description="A row group ends at this many rows …")] = 122_880
    row_group_bytes: Annotated[ByteSize, Field(ge=1, description="… or at this many bytes in memory.")] = ByteSize(
        32 * MIB
    )
    target_file_bytes: Annotated[ByteSize, Field(ge=1, description="A file is closed at this size on disk.")] = (
        ByteSize(256 * MIB)
    )
    max_open_files: Annotated[PositiveInt, Field(description="Files open at once; over it the largest is closed.")] = 64
    threads: Annotated[PositiveInt, Field(description="Threads that encode row groups.")] = 2

    @model_validator(mode="after")
    def _codec_has_this_level(self) -> Self:
        highest = {"zstd": 22, "lz4": 12, "gzip": 9}.get(self.compression, 0)
        if self.compression_level is not None and not 1 <= self.compression_level <= highest:
            levels = f"1 to {highest}" if highest else "no levels"
            raise ValueError(f"{self.compression} has {levels}: compression_level cannot be {self.compression_level}")
        return self


class PipelineConfig(SettingsModel):
    """One topic to one table."""

    name: Annotated[Text, Field(description="Names tables, group, job and sensor; cannot change later.")]
    kafka: Annotated[KafkaConfig, Field(description="Where the records come from.")]
    lake: Annotated[LakeConfig, Field(description="Where the rows go.")]
    start_from: Annotated[
        Literal["earliest", "latest"] | datetime | dict[NonNegativeInt, NonNegativeInt],
        Field(
            description="earliest, latest, an ISO time with zone, or offsets by partition, as in {0: 1200, 3: 90} (the "
            "others from their start); counts at the first start only."
        ),
    ] = "earliest"
    columns: Annotated[
        dict[str, Literal["timestamptz"]],
        Field(description="Declared casts: column to type. Strings become timestamptz as ISO 8601, UTC if no zone."),
    ] = {}  # noqa: RUF012  pydantic copies defaults
    on_cast_error: Annotated[
        Literal["dead_letter", "null"],
        Field(
            description="What a value that `columns` cannot cast does. dead_letter: its message becomes one; null: the "
            "value becomes NULL and is counted."
        ),
    ] = "dead_letter"
    partition_by: Annotated[PartitionBy | None, Field(description="Omit for a table without partitions.")] = None
    schema_policy: Annotated[
        Literal["evolve", "freeze"],
        Field(
            description="evolve: new nullable columns are added, lossless widening applied, conflicts are dead "
            "letters. freeze: the first message that fits, be it without rows, makes the table; whatever is new in "
            "later ones is a dead letter. Missing columns are NULL either way."
        ),
    ] = "evolve"
    metadata_columns: Annotated[
        tuple[MetadataColumn, ...],
        Field(
            description="Columns that say where each row came from. Off by default: _kafka_key (BLOB) and "
            "_kafka_headers (STRUCT(key VARCHAR, value BLOB)[])."
        ),
    ] = DEFAULT_METADATA_COLUMNS
    writer: Annotated[
        Literal["staged", "insert"],
        Field(description="staged: Parquet written by pyarrow, then added; insert: by DuckDB, within the transaction."),
    ] = "staged"
    accept_unsafe_commit: Annotated[
        bool, Field(description="Allow writer: insert on PostgreSQL, where a lost COMMIT answer loses committed rows.")
    ] = False
    lanes: Annotated[PositiveInt, Field(description="Runs that may drain the topic side by side.")] = 1
    flush: Annotated[Flush, Field(description="When a micro-batch is committed.")] = Flush()
    run: Annotated[Run, Field(description="How long a run lives.")] = Run()
    on_topic_recreated: Annotated[
        Literal["suspend", "new_generation"],
        Field(description="suspend: stop and ask; new_generation: go on at the start of the new topic."),
    ] = "suspend"
    dead_letters: Annotated[
        DeadLetters, Field(description="How many dead letters are too many, and how long they stay.")
    ] = DeadLetters()
    event_time: Annotated[EventTime, Field(description="Rows of days that are early or late.")] = EventTime()
    alerts: Annotated[Alerts, Field(description="What is sent when something is wrong.")] = Alerts()
    limits: Annotated[Limits, Field(description="What an untrusted payload may claim.")] = Limits()
    parquet: Annotated[Parquet, Field(description="The Parquet files that are staged.")] = Parquet()
    maintenance: Annotated[
        Maintenance, Field(description="When and how far files, snapshots and ledger are tidied.")
    ] = Maintenance()
    max_in_flight_bytes: Annotated[
        ByteSize, Field(ge=MIB, description="Bytes fetched and not yet written; over it partitions are paused.")
    ] = ByteSize(128 * MIB)

    @field_validator("name")
    @classmethod
    def _plain_name(cls, value: str) -> str:
        if not IDENTIFIER.fullmatch(value):
            raise ValueError(f"{value!r} must match {IDENTIFIER.pattern}: it names tables, a group, a job and a sensor")
        return value

    @field_validator("start_from")
    @classmethod
    def _zoned(cls, value: object) -> object:
        if isinstance(value, datetime):
            if value.tzinfo is None:
                raise ValueError("a time needs a zone, such as 2026-11-04T00:00:00Z")
            return value.astimezone(UTC)
        return value

    @field_validator("columns")
    @classmethod
    def _not_metadata(cls, value: dict[str, str]) -> dict[str, str]:
        if clash := sorted(set(value) & set(ALL_METADATA_COLUMNS)):
            raise ValueError(f"{', '.join(clash)} are arrow_ingest's own columns")
        return value

    @field_validator("on_cast_error", mode="before")
    @classmethod
    def _null_without_quotes(cls, value: object) -> object:
        return "null" if value is None else value

    @field_validator("metadata_columns")
    @classmethod
    def _with_identity(cls, value: tuple[MetadataColumn, ...]) -> tuple[MetadataColumn, ...]:
        if missing := [column for column in IDENTITY_COLUMNS if column not in value]:
            raise ValueError(f"{', '.join(missing)} cannot be left out: `verify` proves exactly-once by them")
        return tuple(dict.fromkeys(value))

    @model_validator(mode="after")
    def _values_are_not_times(self) -> Self:
        by = self.partition_by
        self.event_time.check_fits(by)
        if by is None or by.unit != "value":
            return self
        if by.column.lower() in ALL_METADATA_COLUMNS:
            raise ValueError(
                f"partition_by: {by.column} is one of arrow_ingest's own columns; choose one of the messages'"
            )
        if by.column.lower() in {name.lower() for name in self.columns}:
            raise ValueError(f"partition_by: {by.column} is cast to timestamptz; choose unit hour, day or month for it")
        return self

    @model_validator(mode="after")
    def _message_fits_in_flight(self) -> Self:
        if self.limits.max_message_bytes > self.max_in_flight_bytes:
            raise ValueError("max_in_flight_bytes must hold at least one message of limits.max_message_bytes")
        return self

    @model_validator(mode="after")
    def _commit_is_safe(self) -> Self:
        if self.writer == "insert" and self.lake.catalog.startswith("postgres") and not self.accept_unsafe_commit:
            raise ValueError(
                "writer: insert on PostgreSQL loses committed rows when the answer to a COMMIT is lost (DuckDB then "
                "deletes the files): use writer: staged, or set accept_unsafe_commit: true"
            )
        return self

    @property
    def group(self) -> str:
        """The consumer group that offsets are mirrored to, for monitors only."""
        return f"arrow-ingest.{self.name}"
