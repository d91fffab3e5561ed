"""`arrow-ingest sql`: a query over the lake."""

import click

from arrow_ingest.cli.options import Common, common
from arrow_ingest.cli.output import print_json, print_people, table
from arrow_ingest.errors import ConfigError
from arrow_ingest.lake.query import query
from arrow_ingest.lake.session import open_lake


@click.command()
@click.argument("text", metavar="QUERY")
@click.option("--pipeline", help="Whose lake. Default: the lake of the project, if all its pipelines share one.")
@common
def sql(options: Common, text: str, pipeline: str | None) -> None:
    """Run one query over the lake, read-only.

    The lake is attached as `lake`, and names without a schema are looked up in the schema of the pipeline's table. The
    ledger is `arrow_ingest.commits`. An older state: SELECT count(*) FROM events_arrow AT (VERSION => 5).
    """
    configs = options.pipelines([] if pipeline is None else [pipeline])
    lakes = {config.lake.catalog: config.lake for config in configs}
    if len(lakes) > 1:
        names = ", ".join(config.name for config in configs)
        raise ConfigError(f"the pipelines have several lakes: name one with --pipeline ({names})")
    [lake] = lakes.values()
    with open_lake(lake, read_only=True) as session:
        rows = query(session, text, schema=lake.schema_name)
    if options.as_json:
        print_json(rows.to_pylist())
    else:
        print_people(table(rows.column_names, zip(*(column.to_pylist() for column in rows.columns), strict=True)))
