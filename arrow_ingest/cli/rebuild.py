"""`arrow-ingest rebuild`: table partitions made anew from the log."""

import logging

import click

from arrow_ingest.cli.options import Common, common, waits
from arrow_ingest.cli.output import print_json, print_people, table
from arrow_ingest.cli.runs import new_run_id
from arrow_ingest.log_lines import about
from arrow_ingest.pipeline.lane_locks import longest_run_seconds
from arrow_ingest.pipeline.rebuild import rebuild as rebuild_partitions
from arrow_ingest.pipeline.rebuild_choice import chosen
from arrow_ingest.values import Receipt

log = logging.getLogger(__name__)


@click.command()
@click.argument("pipeline", required=False)
@click.option("--from", "first", metavar="KEY", help="The first table partition, such as 2026-11-04.")
@click.option("--to", "last", metavar="KEY", help="The last one, included. Default: only the first.")
@click.option("--partition", "named", metavar="KEY", multiple=True, help="This one, by its key. Can be repeated.")
@waits("runs that drain the lanes now, and for maintenance")
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
    run_id, wait = new_run_id(), longest_run_seconds(config) if wait_seconds is None else wait_seconds
    with about(pipeline=config.name, run_id=run_id):
        for receipt in rebuild_partitions(config, choice, run_id=run_id, wait_seconds=wait):
            what = receipt.touched[0].value if receipt.touched else "it"
            extra = {"snapshot_id": receipt.snapshot_id}
            log.info("rebuilt %s: snapshot %d", what, receipt.snapshot_id, extra=extra)
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


def _document(receipt: Receipt) -> dict[str, object]:
    return {
        "partition": receipt.touched[0].value if receipt.touched else None,
        "messages": receipt.tally.messages,
        "rows": receipt.tally.rows,
        "files": receipt.files,
        "bytes": receipt.bytes_on_disk,
        "snapshot_id": receipt.snapshot_id,
    }
