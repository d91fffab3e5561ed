"""One table partition of a model: the query's rows in, durable Parquet files that no snapshot refers to yet out.

DuckDB computes and hands the rows over batch by batch; we write them. So no transaction makes a file which the rollback
after a lost COMMIT answer would delete (FACTS), and what a blocking check refuses never reaches the table.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from arrow_ingest.errors import ArrowIngestError, CatalogUnavailable, ModelRefused, StatementRefused, Stopped
from arrow_ingest.lake.engine_errors import wrapped
from arrow_ingest.lake.models.windows import bounds
from arrow_ingest.lake.query import check_functions, check_is_query, parameters_of
from arrow_ingest.lake.row_groups import RowGroupFile
from arrow_ingest.lake.session import Lake
from arrow_ingest.lake.sql import LAKE, quoted
from arrow_ingest.lake.sqltypes import TIMESTAMPTZ, fold, storable
from arrow_ingest.lake.staging import names_in_file, now, table_folder, write_failure
from arrow_ingest.lake.time_partitions import partition_names, partition_numbers
from arrow_ingest.model_settings import SqlModel
from arrow_ingest.values import StagedFile

BATCH_ROWS = 122_880
"""Rows that are in memory at once, beside what the query itself needs: one row group."""

PARAMETERS = frozenset({"start", "stop"})


@dataclass(frozen=True, slots=True)
class StagedPartition:
    """One table partition's rows.

    Args:
        schema: of the rows, as the table is to hold them.
    """

    value: str
    files: tuple[StagedFile, ...]
    schema: pa.Schema

    @property
    def rows(self) -> int:
        """How many."""
        return sum(file.rows for file in self.files)


def check_query(model: SqlModel) -> None:
    """Refuse a query that cannot be a model's; no lake is needed.

    Raises:
        ModelRefused: it is no single query, or has parameters that nobody fills.
        StatementRefused: it is not even SQL.
    """
    check_is_query(model.sql)
    if unknown := sorted(parameters_of(model.sql) - PARAMETERS):
        raise ModelRefused(
            model.name, None, f"its query has the parameters {', '.join(unknown)}; there are $start and $stop"
        )


def prepare(lake: Lake, model: SqlModel) -> None:
    """Check the query and the checks in a session, whose names are then looked up in the pipeline's schema.

    Raises:
        StatementRefused: one of them is not a query, or calls what may change something.
    """
    for text in (model.sql, *(check.bad_rows for check in model.config.checks if check.bad_rows)):
        check_is_query(text)
        check_functions(lake, text)
    lake.execute(f"USE {LAKE}.{quoted(model.pipeline.lake.schema_name)}")


def never() -> bool:
    """Nobody asks to stop."""
    return False


def stage(
    lake: Lake, model: SqlModel, value: str, *, commit_id: str, number: int, stop: Callable[[], bool] = never
) -> StagedPartition:
    """Compute a table partition in the session's snapshot, and write it.

    Args:
        number: tells the files of one commit apart.

    Raises:
        ModelRefused: the query gives rows of another partition, or a column of a type that no file holds.
        StatementRefused: DuckDB refuses the query.
        CatalogUnavailable: data cannot be read or written.
        Stopped: as asked.
    """
    if stop():
        raise Stopped(f"model {model.name} was asked to stop; nothing was changed")
    limits = zip(("start", "stop"), bounds(value, model.unit), strict=True)
    given = {name: at for name, at in limits if name in parameters_of(model.sql)}
    reader = lake.reader(model.sql, given, BATCH_ROWS)
    schema = _schema(model, value, reader.schema)
    rows = (_checked(model, value, pa.Table.from_batches([batch]).cast(schema)) for batch in _batches(reader, stop))
    return StagedPartition(value, tuple(_written(lake, model, rows, value, f"{commit_id}-{number}")), schema)


def _batches(reader: pa.RecordBatchReader, stop: Callable[[], bool]) -> Iterator[pa.RecordBatch]:
    """Batches as the query gives them.

    Raises:
        StatementRefused, CatalogUnavailable: it ends with an error.
        Stopped: as asked.
    """
    while not stop():
        try:
            batch = reader.read_next_batch()
        except StopIteration:
            return
        except duckdb.Error as error:
            raise wrapped(error, "the model's query") from error
        except OSError as error:  # how DuckDB's errors come through Arrow's interface
            raise CatalogUnavailable(f"the model's query cannot read the lake: {error}") from error
        except pa.ArrowException as error:
            raise StatementRefused(f"the model's query fails: {error}") from error
        if batch.num_rows:
            yield batch
    raise Stopped("the model's query was asked to stop; nothing was changed")


def _schema(model: SqlModel, value: str, given: pa.Schema) -> pa.Schema:
    """The query's columns, in types that a file can hold."""
    fields = []
    for field in given:
        kind = storable(field.type)
        if kind is None or pa.types.is_null(kind):
            raise ModelRefused(model.name, value, f"no file holds column {field.name} as {field.type}: cast it")
        fields.append(pa.field(field.name, kind))
    names = [fold(field.name) for field in fields]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ModelRefused(model.name, value, f"its query gives {', '.join(twice)} more than once: name its columns")
    _check_partition_column(model, value, fields)
    return pa.schema(fields)


def _check_partition_column(model: SqlModel, value: str, fields: list[pa.Field]) -> None:
    wanted = model.partition_by.column
    kinds = [field.type for field in fields if fold(field.name) == fold(wanted)]
    accepted = [TIMESTAMPTZ] if model.unit == "hour" else [TIMESTAMPTZ, pa.date32()]
    if not kinds or kinds[0] not in accepted:
        what = f"gives {wanted} as {kinds[0]}" if kinds else f"has no column {wanted}"
        one_of = "a timestamp with zone" if model.unit == "hour" else "a DATE or a timestamp with zone"
        raise ModelRefused(model.name, value, f"its query {what}, and partition_by.column has to be {one_of}")


def _checked(model: SqlModel, value: str, rows: pa.Table) -> pa.Table:
    """The rows, all of which are of the partition; others would stay when it is replaced, and come twice."""
    by = model.partition_by
    names = [fold(name) for name in rows.schema.names]
    column = rows.column(names.index(fold(by.column))).combine_chunks().cast(pa.timestamp("us"))
    numbers = partition_numbers(column.cast(TIMESTAMPTZ), model.unit)
    for number in pc.unique(numbers).to_pylist():
        if (found := partition_names(number, model.unit)[0]) != value:
            raise ModelRefused(
                model.name,
                value,
                f"its query gives rows of {found or 'no partition'} by {by.column}: each has to be "
                "from $start to $stop",
            )
    return rows


def _written(lake: Lake, model: SqlModel, tables: Iterator[pa.Table], value: str, name: str) -> Iterator[StagedFile]:
    """Files of the rows: one, but for partitions larger than `parquet.target_file_bytes`."""
    number = partition_numbers(pa.array([bounds(value, model.unit)[0]], TIMESTAMPTZ), model.unit)[0].as_py()
    hive_path = partition_names(number, model.unit)[1]
    target, parquet = model.lake, model.pipeline.parquet
    folder = f"{table_folder(lake.store, target.schema_name, target.table)}/{hive_path}"
    for part, first in enumerate(tables):
        file = RowGroupFile(lake.store, f"{folder}/model-{name}-{part}.parquet", value, parquet, now)
        try:
            rows: pa.Table | None = first
            while rows is not None:
                file.write(rows.rename_columns(names_in_file(rows.schema.names, hive_path)))
                rows = next(tables, None) if file.size_bytes < parquet.target_file_bytes else None
            staged = file.close()
        except BaseException as error:
            file.abandon()
            if isinstance(error, OSError) and not isinstance(error, ArrowIngestError):
                raise write_failure(lake.store, folder, error) from error
            raise
        if staged is not None:
            yield staged
