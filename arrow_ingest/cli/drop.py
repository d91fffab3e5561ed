"""`arrow-ingest drop`: a pipeline that is wanted no more, out of its lake."""

import sys

import click

from arrow_ingest.cli.options import Common, common, waits
from arrow_ingest.cli.output import print_json, print_people
from arrow_ingest.cli.runs import new_run_id
from arrow_ingest.errors import ConfigError
from arrow_ingest.lake.dropping import Held
from arrow_ingest.pipeline.drop import drop as drop_pipeline
from arrow_ingest.pipeline.drop import held
from arrow_ingest.pipeline.lane_locks import longest_run_seconds


@click.command()
@click.argument("pipeline")
@click.option("--keep-table", is_flag=True, help="Leave the table and its dead letters, as tables that nobody writes.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@waits("runs that drain the lanes now, and for maintenance")
@common
def drop(options: Common, pipeline: str, *, keep_table: bool, yes: bool, wait_seconds: float | None) -> None:
    """Take PIPELINE out of its lake: its table, dead letters, offsets and ledger, in one transaction.

    Stop its sensor and schedule in Dagster first: a run that starts afterwards reads the topic again, from its start.
    Take its YAML out of the project afterwards. The topic, the consumer group and Dagster's history stay. Files go when
    the snapshots that hold them expire: until then time travel reaches the rows.
    """
    config = options.pipeline(pipeline)
    found = held(config)
    if found is not None and not yes:
        _ask(found, keep_table=keep_table)
    dropped = found is not None and drop_pipeline(
        config,
        keep_table=keep_table,
        run_id=new_run_id(),
        wait_seconds=longest_run_seconds(config) if wait_seconds is None else wait_seconds,
    )
    if options.as_json:
        print_json({"pipeline": config.name, "dropped": dropped, "kept_table": keep_table, "held": found})
    elif found is not None and dropped:
        print_people(f"dropped: {_sentence(found, keep_table=keep_table)}")
    else:
        print_people(f"the lake knows nothing of {config.name}: there is nothing to drop")


def _ask(found: Held, *, keep_table: bool) -> None:
    sentence = _sentence(found, keep_table=keep_table)
    if not sys.stdin.isatty():
        raise ConfigError(f"this would drop {sentence}: say --yes if that is meant")
    if click.prompt(f"This drops {sentence}.\nType the pipeline's name to go on", err=True) != found.pipeline:
        raise click.Abort


def _sentence(found: Held, *, keep_table: bool) -> str:
    table = f"{found.schema}.{found.table}"
    if keep_table:
        return f"pipeline {found.pipeline}; table {table} stays, with {found.files:,} files"
    return (
        f"pipeline {found.pipeline} and table {table} with {found.rows:,} rows in {found.files:,} files "
        f"({found.size_bytes / 1e6:,.1f} MB) and {found.dead_letters:,} dead letters"
    )
