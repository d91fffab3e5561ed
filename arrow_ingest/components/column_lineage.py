"""Columns of a table to the columns that they come from, as the UI shows them: from topic through table to model.

Dagster's own UI (1.13) draws the lineage of columns nowhere, though GraphQL has it and Dagster+ does. It shows what is
said of a column, so it is said there as well.
"""

from collections.abc import Iterable, Mapping

import dagster as dg

from arrow_ingest.lake.schema import Column
from arrow_ingest.table_shape import ALL_METADATA_COLUMNS

COLUMN_LINEAGE = "dagster/column_lineage"


def of_table(columns: Iterable[str], topic: dg.AssetKey) -> dg.TableColumnLineage:
    """A pipeline's table: each column from the topic's column of the same name.

    What arrow_ingest adds itself, where and when a row came from, comes from no column of a message.
    """
    return dg.TableColumnLineage(
        {name: [] if name in ALL_METADATA_COLUMNS else [dg.TableColumnDep(topic, name)] for name in columns}
    )


def of_model(
    columns: Iterable[str], origins: Mapping[str, Iterable[str]], source: dg.AssetKey
) -> dg.TableColumnLineage:
    """A model's table.

    Args:
        origins: column, in small letters, to columns of the pipeline's table; those of none are left out.
    """
    return dg.TableColumnLineage(
        {name: [dg.TableColumnDep(source, column) for column in origins.get(name.lower(), ())] for name in columns}
    )


def described(columns: Iterable[Column], lineage: dg.TableColumnLineage) -> dg.TableSchema:
    """The columns as the UI shows them, each with where it comes from."""
    return dg.TableSchema(
        [
            dg.TableColumn(column.name, type=column.sql_type, description=_said(lineage.deps_by_column[column.name]))
            for column in columns
        ]
    )


def _said(deps: Iterable[dg.TableColumnDep]) -> str | None:
    """Where a column comes from, in words.

    >>> _said([dg.TableColumnDep(dg.AssetKey(["lake", "main", "events"]), name) for name in ("event", "timestamp")])
    'from events: event, timestamp'
    """
    by_table: dict[str, list[str]] = {}
    for dep in deps:
        by_table.setdefault(dep.asset_key.path[-1], []).append(dep.column_name)
    listed = "; ".join(f"{table}: {', '.join(names)}" for table, names in by_table.items())
    return f"from {listed}" if listed else None
