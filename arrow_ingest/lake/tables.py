"""A pipeline's settings in, its place in the lake made or refused: our own tables, and which pipeline owns which table.

Our own tables live in the catalog: their rows are inlined, under an explicit limit that no statement of ours reaches,
and neither CHECKPOINT nor a flush moves them into files, which a rollback after a lost COMMIT answer would delete
(FACTS).
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from arrow_ingest.config import LakeConfig, PipelineConfig
from arrow_ingest.errors import LakeMismatch
from arrow_ingest.lake import late_rows, ledger, letter_events
from arrow_ingest.lake.dead_letters import DEAD_LETTER_SCHEMA, dead_letter_table
from arrow_ingest.lake.own_tables import has_own
from arrow_ingest.lake.schema import Column, TableSchema
from arrow_ingest.lake.session import Lake
from arrow_ingest.lake.sql import LAKE, OWN_SCHEMA, create_table, in_lake, insert, own, quoted, select_columns
from arrow_ingest.lake.sqltypes import sql_text
from arrow_ingest.table_shape import PartitionBy

LAYOUT_VERSION = 2
"""Counts changes to our own tables that older code must not write beside; a lake of a newer one is refused. A table
that is only added (`ADDED`) needs no new number: older code leaves it alone, and it is made where it is missing.
2: the ledger may consist of several tables."""

INLINED_ROWS = 1_000
"""Rows that one statement may inline in our own tables; ours write one."""

META = own("meta")
META_COLUMNS = (Column("layout_version", "INTEGER"),)

PIPELINES = own("pipelines")
PIPELINE_COLUMNS = (
    Column("pipeline", "VARCHAR"),
    Column("schema_name", "VARCHAR"),
    Column("table_name", "VARCHAR"),
    Column("topic", "VARCHAR"),
    Column("partition_by", "VARCHAR"),
    Column("created_at", "TIMESTAMP WITH TIME ZONE"),
)

ADDED = ((letter_events.NAME, letter_events.COLUMNS), (late_rows.NAME, late_rows.COLUMNS))
"""Own tables that lakes of earlier versions lack."""

DEAD_LETTER_COLUMNS = tuple(Column(field.name, sql_text(field.type)) for field in DEAD_LETTER_SCHEMA)


@dataclass(frozen=True, slots=True)
class Identity:
    """What must not change under a pipeline's table.

    Args:
        partition_by: as in ``day(timestamp)``; empty for a table without partitions.
    """

    pipeline: str
    schema: str
    table: str
    topic: str
    partition_by: str


def ensure(lake: Lake, config: PipelineConfig) -> None:
    """Make what a pipeline needs before its first commit. Idempotent, and cheap once it is there.

    The table itself is made by the first commit that has rows: only they say what its columns are.

    Raises:
        LakeMismatch: the lake holds something else under one of these names, or was made by a newer arrow_ingest.
        CommitConflict, CatalogUnavailable: nothing was half made; try again.
    """
    _ensure_own_tables(lake)
    wanted = identity_of(config)
    if not _is_registered(lake, wanted):
        lake.write(lambda: _register(lake, config.lake, wanted))


def is_registered(lake: Lake, config: PipelineConfig) -> bool:
    """Whether the pipeline has run into this lake before, with these settings.

    Raises:
        LakeMismatch: it has, with other settings; or its table belongs to another pipeline.
    """
    return _is_registered(lake, identity_of(config))


def registered(lake: Lake, pipeline: str) -> Identity | None:
    """What the lake knows a pipeline by, whatever its settings say by now; None: it never ran into this lake."""
    if layout_version(lake) is None:
        return None
    rows = lake.execute(
        f"SELECT {select_columns(PIPELINE_COLUMNS[:-1])} FROM {PIPELINES} WHERE pipeline = ?", [pipeline]
    )
    return Identity(*rows[0]) if rows else None


def migrate(lake: Lake) -> tuple[int, int]:
    """Bring our own tables to this code's layout; the version before and after.

    Nothing but the number and tables that are missing changes, in one transaction. Older code refuses the lake then.

    Raises:
        LakeMismatch: the lake was made by a newer arrow_ingest.
        CommitConflict, CatalogUnavailable: nothing was changed, or (a lost answer) all of it: ask again.
    """
    _ensure_own_tables(lake)

    def raise_version() -> int:
        before = layout_version(lake) or 0
        raise_layout_version(lake)
        return before

    return lake.write(raise_version), LAYOUT_VERSION


def layout_version(lake: Lake) -> int | None:
    """The layout of our own tables in this lake; None: there are none."""
    if not has_own(lake, "meta"):
        return None
    rows = lake.execute(f"SELECT max(layout_version) FROM {META}")
    return int(rows[0][0])


def claim(lake: Lake, pipeline: str) -> None:
    """Let one writer at a time change which lanes a pipeline has: an UPDATE conflicts with every other one.

    Rows of lanes lie in tables of their own, so that lanes commit side by side; nothing else would make two writers
    conflict that each add a lane. The caller's transaction is open, and reads the lanes after this.

    Raises:
        CommitConflict: another writer was first.
        LakeMismatch: the pipeline is not registered.
    """
    changed = lake.execute(f"UPDATE {PIPELINES} SET created_at = created_at WHERE pipeline = ?", [pipeline])
    if changed != [(1,)]:
        raise LakeMismatch(f"pipeline {pipeline} is not registered in the lake")


def check_takes_our_files(lake: Lake) -> None:
    """Refuse to put files of our own into a lake whose files DuckDB encrypts: ours would stand there in the clear.

    Raises:
        LakeMismatch: it is such a lake; `writer: insert` has rows encrypted, and nothing else has.
    """
    if lake.execute("SELECT 1 FROM ducklake_options(?) WHERE option_name = 'encrypted' AND value = 'true'", [LAKE]):
        raise LakeMismatch(
            "the lake encrypts its files: what is staged by arrow_ingest itself would stand in the clear"
        )


def raise_layout_version(lake: Lake) -> None:
    """Write down that our own tables are of this code's layout; the caller's transaction is open."""
    if (layout_version(lake) or 0) < LAYOUT_VERSION:
        lake.execute(insert(META, META_COLUMNS), [LAYOUT_VERSION])


def read_table_schema(lake: Lake, table: LakeConfig) -> TableSchema | None:
    """The table's columns as the catalog holds them, in the open transaction if there is one; None: no such table."""
    return _columns_of(lake, table.schema_name, table.table)


def identity_of(config: PipelineConfig) -> Identity:
    """What a pipeline's settings say of its identity."""
    return Identity(
        pipeline=config.name,
        schema=config.lake.schema_name,
        table=config.lake.table,
        topic=config.kafka.topic,
        partition_by=_partition_text(config.partition_by),
    )


def check_identity(wanted: Identity, held: tuple[Identity, ...]) -> bool:
    """Whether the pipeline is among those that the lake knows; no other one may have its table.

    >>> first = Identity("events", "main", "events", "topic-a", "day(timestamp)")
    >>> check_identity(first, (first,)), check_identity(first, ())
    (True, False)

    Raises:
        LakeMismatch: it is, but with other settings; or another one has its table.
    """
    for other in held:
        if other.pipeline == wanted.pipeline:
            _check_same(wanted, other)
            return True
        if (other.schema.lower(), other.table.lower()) == (wanted.schema.lower(), wanted.table.lower()):
            raise LakeMismatch(
                f"table {wanted.schema}.{wanted.table} belongs to pipeline {other.pipeline} (topic {other.topic}): "
                f"give {wanted.pipeline} another lake.table, or name it {other.pipeline}"
            )
    return False


def _check_same(wanted: Identity, held: Identity) -> None:
    settings = {
        "lake.schema": (held.schema, wanted.schema),
        "lake.table": (held.table, wanted.table),
        "kafka.topic": (held.topic, wanted.topic),
        "partition_by": (held.partition_by or "none", wanted.partition_by or "none"),
    }
    changed = [
        f"{key} is {was} in the lake and {now} in the YAML" for key, (was, now) in settings.items() if was != now
    ]
    if changed:
        raise LakeMismatch(
            f"pipeline {wanted.pipeline}: {'; '.join(changed)}. Put the old value back, or leave this table as it is "
            "and give the new settings a pipeline of their own (another name and lake.table)"
        )


def _ensure_own_tables(lake: Lake) -> None:
    version = layout_version(lake)
    if version is None:
        lake.write(lambda: lake.execute(f"CREATE SCHEMA IF NOT EXISTS {LAKE}.{quoted(OWN_SCHEMA)}"))
        lake.write(lambda: _set_options(lake))
        version = lake.write(lambda: layout_version(lake) or _create_own_tables(lake))
    if version > LAYOUT_VERSION:
        raise LakeMismatch(
            f"the lake's own tables have layout {version}, this arrow_ingest knows {LAYOUT_VERSION}: upgrade it"
        )
    if _missing(lake):
        lake.write(lambda: _add_missing(lake))


def _missing(lake: Lake) -> list[tuple[str, tuple[Column, ...]]]:
    there = lake.names_in(OWN_SCHEMA)
    return [(name, columns) for name, columns in ADDED if name not in there]


def _add_missing(lake: Lake) -> None:
    for name, columns in _missing(lake):
        lake.execute(create_table(own(name), columns))


def _set_options(lake: Lake) -> None:
    """Keep our own tables in the catalog, and their rows out of everybody's compaction.

    Two traps: an option cannot be set on what the same transaction made, and setting the inlining limit of a schema
    that holds a view kills the process. Hence between the schema and our tables, and only then.
    """
    if layout_version(lake) is not None:
        return
    lake.execute(f"CALL {LAKE}.set_option('data_inlining_row_limit', ?, schema => ?)", [INLINED_ROWS, OWN_SCHEMA])
    lake.execute(f"CALL {LAKE}.set_option('auto_compact', false, schema => ?)", [OWN_SCHEMA])


def _create_own_tables(lake: Lake) -> int:
    lake.execute(create_table(PIPELINES, PIPELINE_COLUMNS))
    lake.execute(create_table(ledger.COMMITS, ledger.COLUMNS))
    lake.execute(ledger.PARTITIONS_VIEW)
    _add_missing(lake)
    lake.execute(create_table(META, META_COLUMNS))
    lake.execute(insert(META, META_COLUMNS), [LAYOUT_VERSION])
    return LAYOUT_VERSION


def _is_registered(lake: Lake, wanted: Identity) -> bool:
    rows = lake.execute(f"SELECT {select_columns(PIPELINE_COLUMNS[:-1])} FROM {PIPELINES}")
    return check_identity(wanted, tuple(Identity(*row) for row in rows))


def _register(lake: Lake, table: LakeConfig, wanted: Identity) -> None:
    if _is_registered(lake, wanted):
        return
    letters = dead_letter_table(wanted.table)
    for name in (wanted.table, letters):
        if _columns_of(lake, wanted.schema, name) is not None:
            raise LakeMismatch(
                f"table {wanted.schema}.{name} is there already and no pipeline made it: choose another lake.table"
            )
    lake.execute(f"CREATE SCHEMA IF NOT EXISTS {LAKE}.{quoted(table.schema_name)}")
    lake.execute(create_table(in_lake(wanted.schema, letters), DEAD_LETTER_COLUMNS))
    lake.execute(
        insert(PIPELINES, PIPELINE_COLUMNS),
        (wanted.pipeline, wanted.schema, wanted.table, wanted.topic, wanted.partition_by, datetime.now(UTC)),
    )


def _columns_of(lake: Lake, schema: str, table: str) -> TableSchema | None:
    rows = lake.execute(
        "SELECT column_name, data_type FROM duckdb_columns() WHERE database_name = ? AND lower(schema_name) = lower(?) "
        "AND lower(table_name) = lower(?) ORDER BY column_index",
        [LAKE, schema, table],
    )
    return TableSchema(tuple(Column(*row) for row in rows)) if rows else None


def _partition_text(partition_by: PartitionBy | None) -> str:
    return "" if partition_by is None else f"{partition_by.unit}({partition_by.column})"
