"""A model's table of arrow_ingest's own, ``models_<name>``: what each table partition was computed from.

Its head, the row without a partition, is what every writer UPDATEs first: two of them conflict, whatever partitions
they write. Rows that are replaced leave dead versions, which only a new table ends (FACTS): `make_anew`.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from arrow_ingest.errors import LakeMismatch
from arrow_ingest.lake.models.due import Computed
from arrow_ingest.lake.own_tables import has_own
from arrow_ingest.lake.schema import Column
from arrow_ingest.lake.session import Lake
from arrow_ingest.lake.sql import LAKE, OWN_SCHEMA, create_table, insert, own, quoted, select_columns
from arrow_ingest.lake.tables import PIPELINES, read_table_schema
from arrow_ingest.model_settings import SqlModel
from arrow_ingest.values import TouchedPartition

COLUMNS = (
    Column("table_partition", "VARCHAR"),
    Column("source_snapshot", "BIGINT"),
    Column("code_version", "VARCHAR"),
    Column("rows", "BIGINT"),
    Column("files", "INTEGER"),
    Column("bytes", "BIGINT"),
    Column("commit_id", "VARCHAR"),
    Column("run_id", "VARCHAR"),
    Column("computed_at", "TIMESTAMP WITH TIME ZONE"),
    Column("commits", "BIGINT"),
    Column("identity", "VARCHAR"),
)
"""``commits`` (since the last rotation) and ``identity`` are of the head alone."""

PREFIX = "models_"
ROTATE_AFTER = 300
"""Commits; each leaves a dead version of the head, and of each row that it replaces."""

CHUNK = 500
"""Rows that one statement inlines: under the limit of arrow_ingest's own tables, over which DuckLake writes a file."""

Landed = tuple[int, datetime, tuple[TouchedPartition, ...]]
"""Snapshot, time and partitions of a commit."""

_NAMES = select_columns(COLUMNS)
_STATE = select_columns(COLUMNS[:9])


def table_of(name: str) -> str:
    """The table's name within arrow_ingest's schema."""
    return f"{PREFIX}{name}"


def check(lake: Lake, model: SqlModel) -> bool:
    """Whether the model was ever computed in this lake.

    Raises:
        LakeMismatch: the model's table is another one's, or the model was another table's.
    """
    if not has_own(lake, table_of(model.name)):
        _check_is_free(lake, model)
        return False
    [(held,)] = lake.execute(f"SELECT identity FROM {own(table_of(model.name))} WHERE table_partition IS NULL")
    if held != (wanted := _identity(model)):
        raise LakeMismatch(
            f"model {model.name} is {_shown(held)} in the lake and {_shown(wanted)} in the YAML: put the old value "
            "back, or give the new settings another name and table"
        )
    return True


def ensure(lake: Lake, model: SqlModel) -> None:
    """Make the table where it is missing. Raises as `check`."""
    if not check(lake, model):
        lake.write(lambda: _make(lake, model))


def read(lake: Lake, name: str, values: Iterable[str] | None = None) -> dict[str, Computed]:
    """What each table partition was computed from; only those of ``values``, if they are given."""
    wanted = None if values is None else set(values)
    rows = lake.execute(f"SELECT {_STATE} FROM {own(table_of(name))} WHERE table_partition IS NOT NULL")
    return {row[0]: Computed(*row) for row in rows if wanted is None or row[0] in wanted}


def fence(lake: Lake, name: str) -> None:
    """Make every other writer of the model conflict with the open transaction, which reads the state after this."""
    changed = lake.execute(f"UPDATE {own(table_of(name))} SET commits = commits + 1 WHERE table_partition IS NULL")
    if changed != [(1,)]:
        raise LakeMismatch(f"model {name} has no state in the lake")


def write(lake: Lake, name: str, computed: Iterable[Computed]) -> None:
    """Write down what table partitions were computed from, in the open transaction."""
    table = own(table_of(name))
    for row in computed:
        lake.execute(f"DELETE FROM {table} WHERE table_partition = ?", [row.value])
        values = (row.value, row.source_snapshot, row.code_version, row.rows, row.files, row.size_bytes)
        lake.execute(insert(table, COLUMNS), (*values, row.commit_id, row.run_id, row.computed_at, None, None))


def commits(lake: Lake, name: str) -> int:
    """Commits since the last rotation."""
    [(count,)] = lake.execute(f"SELECT commits FROM {own(table_of(name))} WHERE table_partition IS NULL")
    return int(count)


def make_anew(lake: Lake, name: str) -> None:
    """A new table of the same rows under the same name, in the open transaction, behind `fence`.

    The fence's UPDATE is what makes this safe: a commit between this read and this COMMIT would be undone without a
    word otherwise (FACTS).
    """
    table, new = table_of(name), f"{table_of(name)}__new"
    lake.execute(f"UPDATE {own(table)} SET commits = 0 WHERE table_partition IS NULL")
    lake.execute(create_table(own(new), COLUMNS))
    [(count,)] = lake.execute(f"SELECT count(*) FROM {own(table)}")
    for start in range(0, count, CHUNK):
        lake.execute(
            f"INSERT INTO {own(new)} ({_NAMES}) SELECT {_NAMES} FROM {own(table)} "
            "ORDER BY table_partition LIMIT ? OFFSET ?",
            [CHUNK, start],
        )
    lake.execute(f"DROP TABLE {own(table)}")
    lake.execute(f"ALTER TABLE {own(new)} RENAME TO {quoted(table)}")


def landed(lake: Lake, name: str, commit_id: str) -> Landed | None:
    """A commit whose rows are still the present ones; None: there is none."""
    rows = lake.execute(
        f"SELECT snapshot_id, computed_at, table_partition, rows, files, bytes FROM {own(table_of(name))} "
        "WHERE commit_id = ? AND table_partition IS NOT NULL ORDER BY table_partition",
        [commit_id],
    )
    if not rows:
        return None
    return rows[0][0], rows[0][1], tuple(TouchedPartition(*row[2:]) for row in rows)


@dataclass(frozen=True, slots=True)
class Held:
    """A model that was computed in this lake: its state's own name within arrow_ingest's schema, and its table."""

    name: str
    schema: str
    table: str


def models_of(lake: Lake, pipeline: str) -> tuple[Held, ...]:
    """Every model that was ever computed from a pipeline's table."""
    names = (name for name in lake.names_in(OWN_SCHEMA) if name.startswith(PREFIX))
    found = []
    for name in names:
        [(text,)] = lake.execute(f"SELECT identity FROM {own(name)} WHERE table_partition IS NULL")
        identity: Mapping[str, str] = json.loads(text)
        if identity["pipeline"] == pipeline:
            found.append(Held(name, identity["schema"], identity["table"]))
    return tuple(found)


def _check_is_free(lake: Lake, model: SqlModel) -> None:
    target = model.lake
    tables = lake.execute(f"SELECT lower(schema_name), lower(table_name) FROM {PIPELINES}")
    is_a_pipelines = (target.schema_name.lower(), target.table.lower()) in tables
    if is_a_pipelines or read_table_schema(lake, target) is not None:
        raise LakeMismatch(
            f"table {target.schema_name}.{target.table} is there already and model {model.name} did not make it: "
            "choose another one"
        )


def _make(lake: Lake, model: SqlModel) -> None:
    if check(lake, model):
        return
    target = model.lake
    lake.execute(f"CREATE SCHEMA IF NOT EXISTS {LAKE}.{quoted(target.schema_name)}")
    lake.execute(create_table(own(table_of(model.name)), COLUMNS))
    head = (None, None, None, None, None, None, None, None, datetime.now(UTC), 0, _identity(model))
    lake.execute(insert(own(table_of(model.name)), COLUMNS), head)


def _identity(model: SqlModel) -> str:
    """What must not change under a model's table."""
    target, by = model.lake, model.partition_by
    return json.dumps(
        {
            "pipeline": model.pipeline.name,
            "schema": target.schema_name,
            "table": target.table,
            "partition_by": f"{by.unit}({by.column})",
        }
    )


def _shown(identity: str) -> str:
    parts: Mapping[str, str] = json.loads(identity)
    return f"{parts['schema']}.{parts['table']} by {parts['partition_by']} of {parts['pipeline']}"
