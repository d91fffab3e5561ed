"""`arrow-ingest rebuild`: table partitions made anew from the log."""

import logging
from collections.abc import Sequence

import click

from arrow_ingest.cli.options import Common, common
from arrow_ingest.cli.output import print_json, print_people, table
from arrow_ingest.cli.runs import new_run_id
from arrow_ingest.config import PipelineConfig
from arrow_ingest.errors import ConfigError
from arrow_ingest.lake.time_partitions import key_of_time, start_of_key
from arrow_ingest.pipeline.lane_locks import longest_run_seconds
from arrow_ingest.pipeline.rebuild import Choice, between, these
from arrow_ingest.pipeline.rebuild import rebuild as rebuild_partitions
from arrow_ingest.values import Receipt

log = logging.getLogger(__name__)


@click.command()
@click.argument("pipeline", required=False)
@click.option("--from", "first", metavar="KEY", help="The first table partition, such as 2026-11-04.")
@click.option("--to", "last", metavar="KEY", help="The last one, included. Default: only the first.")
@click.option("--partition", "named", metavar="KEY", multiple=True, help="This one, by its key. Can be repeated.")
@click.option(
    "--wait",
    "wait_seconds",
    type=click.FloatRange(min=0),
    help="Seconds to wait for runs that drain the lanes now, and for maintenance. Default: as long as a run may live.",
)
@common
def rebuild(
    options: Common,
    pipeline: str | None,
    *,
    first: str | None,
    last: str | None,
    named: tuple[str, ...],
    wait_seconds: float | None,
) -> None:
    """Read the messages of table partitions of PIPELINE again and put what comes of them in the place of their rows.

    Each partition is one transaction; offsets do not move, and the lanes wait meanwhile. Refused with the reason, and
    nothing changed, when the log no longer holds what the table holds or comes out otherwise. What others deleted,
    added or changed in these rows is undone; rows of earlier generations and rows without a place in the log stay. A
    table without partitions is rebuilt as a whole.
    """
    config = options.pipeline(pipeline)
    choice = chosen(config, first, last, named)
    receipts: list[Receipt] = []
    for receipt in rebuild_partitions(
        config,
        choice,
        run_id=new_run_id(),
        wait_seconds=longest_run_seconds(config) if wait_seconds is None else wait_seconds,
    ):
        log.info("rebuilt %s: snapshot %d", receipt.touched[0].value if receipt.touched else "it", receipt.snapshot_id)
        receipts.append(receipt)
    if options.as_json:
        print_json({"pipeline": config.name, "rebuilt": [_document(receipt) for receipt in receipts]})
    elif receipts:
        documents = [_document(receipt) for receipt in receipts]
        print_people(
            table([name.replace("_", " ") for name in documents[0]], [list(each.values()) for each in documents])
        )
    else:
        print_people("None of these table partitions has rows.")


def chosen(config: PipelineConfig, first: str | None, last: str | None, named: Sequence[str]) -> Choice:
    """Which table partitions the options mean.

    Raises:
        ConfigError: they do not fit the table, or name none.
    """
    by = config.partition_by
    if by is None:
        if first or last or named:
            raise ConfigError(
                f"the table of {config.name} has no partitions: it is rebuilt as a whole, without options"
            )
        return these(())
    if named and (first or last):
        raise ConfigError("name table partitions with --partition, or a range with --from and --to")
    if not named and first is None:
        raise ConfigError("name table partitions: --from and --to, or --partition")
    if by.unit == "value":
        if first or last:
            raise ConfigError("the table is partitioned by values: name them with --partition")
        return these(named)
    keys = [_key(key, by.unit) for key in (*named, *(key for key in (first, last) if key is not None))]
    return these(keys) if named else between(keys[0], keys[-1])


def _key(given: str, unit: str) -> str:
    """A key as Dagster writes it; a month may be written without its day."""
    assert unit in ("hour", "day", "month")
    for text in (given, f"{given}-01"):
        try:
            return key_of_time(start_of_key(text, unit), unit)  # type: ignore[arg-type]
        except ValueError:
            continue
    example = {"hour": "2026-11-04-02:00", "day": "2026-11-04", "month": "2026-11"}[unit]
    raise ConfigError(f"{given!r} is no {unit} of the table, such as {example}")


def _document(receipt: Receipt) -> dict[str, object]:
    return {
        "partition": receipt.touched[0].value if receipt.touched else None,
        "messages": receipt.tally.messages,
        "rows": receipt.tally.rows,
        "files": receipt.files,
        "bytes": receipt.bytes_on_disk,
        "snapshot_id": receipt.snapshot_id,
    }
