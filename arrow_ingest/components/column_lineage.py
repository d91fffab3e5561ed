"""Columns of a table to the columns that they come from, as the UI draws them: from topic through table to model."""

from collections.abc import Iterable, Mapping

import dagster as dg

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
