"""SQL text from names and types. Pure: values are parameters and never stand in the text, save where DuckDB takes none.

The lake is always attached as ``lake``; our own tables are in its schema ``arrow_ingest``.
"""

from collections.abc import Iterable, Mapping

from arrow_ingest.lake.schema import AddColumn, Column, CreateTable, SchemaChange, Widen
from arrow_ingest.lake.time_partitions import TRANSFORMS, next_start, start_of_key
from arrow_ingest.lake.value_partitions import text_of_key
from arrow_ingest.table_shape import PartitionBy

LAKE = "lake"
"""The name that the lake is attached as."""

OWN_SCHEMA = "arrow_ingest"
"""The schema of the ledger, of the lanes and of what else is arrow_ingest's own."""


def quoted(name: str) -> str:
    """An identifier, whatever is in it.

    >>> quoted("a b"), len(quoted('"'))
    ('"a b"', 4)
    """
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A string literal, for the statements that take no parameters (ATTACH, LOAD, CREATE).

    >>> print(literal("it's"))
    'it''s'
    """
    return "'" + text.replace("'", "''") + "'"


def in_lake(schema: str, name: str) -> str:
    """A table or view of the lake.

    >>> print(in_lake("main", "events"))
    lake."main"."events"
    """
    return f"{LAKE}.{quoted(schema)}.{quoted(name)}"


def own(name: str) -> str:
    """One of arrow_ingest's own tables or views.

    >>> print(own("commits"))
    lake."arrow_ingest"."commits"
    """
    return in_lake(OWN_SCHEMA, name)


def attach(target: str, options: Mapping[str, str | int]) -> str:
    """ATTACH of a DuckLake; a true option is its bare name, a false one is left out.

    >>> print(attach("ducklake:sqlite:/l/c.sqlite", {"DATA_PATH": "/l/data/", "READ_ONLY": True, "ENCRYPTED": False}))
    ATTACH 'ducklake:sqlite:/l/c.sqlite' AS lake (DATA_PATH '/l/data/', READ_ONLY)
    """
    given = ", ".join(_option(name, value) for name, value in options.items() if value is not False)
    return f"ATTACH {literal(target)} AS {LAKE} ({given})"


def create_table(table: str, columns: Iterable[Column]) -> str:
    """CREATE TABLE of a qualified name; every column is nullable.

    >>> print(create_table(own("meta"), [Column("layout_version", "INTEGER")]))
    CREATE TABLE lake."arrow_ingest"."meta" ("layout_version" INTEGER)
    """
    listed = ", ".join(f"{quoted(column.name)} {column.sql_type}" for column in columns)
    return f"CREATE TABLE {table} ({listed})"


def insert(table: str, columns: Iterable[Column]) -> str:
    """INSERT of one row whose values are parameters, in the order of the columns.

    >>> print(insert(own("meta"), [Column("layout_version", "INTEGER")]))
    INSERT INTO lake."arrow_ingest"."meta" ("layout_version") VALUES (?)
    """
    names = [quoted(column.name) for column in columns]
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' for _ in names)})"


def select_columns(columns: Iterable[Column]) -> str:
    """A select list of plain columns.

    >>> print(select_columns([Column("rows", "BIGINT"), Column("start", "BIGINT")]))
    "rows", "start"
    """
    return ", ".join(quoted(column.name) for column in columns)


def change_table(table: str, change: SchemaChange, partition_by: PartitionBy | None) -> tuple[str, ...]:
    """The statements of one schema change; a new table is partitioned at once, before it holds a file.

    >>> for text in change_table(in_lake("main", "t"), AddColumn("a b", "VARCHAR"), None): print(text)
    ALTER TABLE lake."main"."t" ADD COLUMN "a b" VARCHAR
    >>> for text in change_table(in_lake("main", "t"), Widen("a", "INTEGER", "BIGINT"), None): print(text)
    ALTER TABLE lake."main"."t" ALTER COLUMN "a" SET DATA TYPE BIGINT
    """
    match change:
        case CreateTable(columns):
            create = create_table(table, columns)
            return (create,) if partition_by is None else (create, set_partitioned_by(table, partition_by))
        case AddColumn(name, sql_type):
            return (f"ALTER TABLE {table} ADD COLUMN {quoted(name)} {sql_type}",)
        case Widen(name, _, sql_type_to):
            return (f"ALTER TABLE {table} ALTER COLUMN {quoted(name)} SET DATA TYPE {sql_type_to}",)


def set_partitioned_by(table: str, partition_by: PartitionBy) -> str:
    """The DuckLake partition clause of a unit.

    >>> from datetime import date
    >>> print(set_partitioned_by(in_lake("main", "t"), PartitionBy(column="ts", unit="day", start=date(2026, 1, 1))))
    ALTER TABLE lake."main"."t" SET PARTITIONED BY (year("ts"), month("ts"), day("ts"))
    """
    column = quoted(partition_by.column)
    if partition_by.unit == "value":
        return f"ALTER TABLE {table} SET PARTITIONED BY ({column})"
    keys = ", ".join(f"{transform}({column})" for transform in TRANSFORMS[partition_by.unit])
    return f"ALTER TABLE {table} SET PARTITIONED BY ({keys})"


def in_partition(partition_by: PartitionBy, key: str) -> str:
    """The condition that selects a table partition by its key, in whatever time zone the session runs.

    >>> print(in_partition(PartitionBy(column="team", unit="value"), "it's 5 %25"))
    "team" = 'it''s 5 %'
    >>> from datetime import date
    >>> print(in_partition(PartitionBy(column="ts", unit="hour", start=date(2026, 1, 1)), "2026-11-04-23:00"))
    "ts" >= TIMESTAMPTZ '2026-11-04 23:00:00+00'
      AND "ts" < TIMESTAMPTZ '2026-11-05 00:00:00+00'
    """
    column = quoted(partition_by.column)
    if partition_by.unit == "value":
        return f"{column} = {literal(text_of_key(key))}"
    start = start_of_key(key, partition_by.unit)
    stop = next_start(start, partition_by.unit)
    low, high = (f"TIMESTAMPTZ '{at:%Y-%m-%d %H:%M:%S}+00'" for at in (start, stop))
    return f"{column} >= {low}\n  AND {column} < {high}"


def _option(name: str, value: str | int) -> str:
    if value is True:
        return name
    return f"{name} {literal(value) if isinstance(value, str) else value}"
