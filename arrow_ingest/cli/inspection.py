"""`arrow-ingest inspect`: what would become of a payload, without writing anything."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import click
import pyarrow as pa
from rich.console import RenderableType

from arrow_ingest.cli.exits import Exit
from arrow_ingest.cli.options import Common, common
from arrow_ingest.cli.output import cell, print_json, print_people, table
from arrow_ingest.config import PipelineConfig
from arrow_ingest.kafka.cluster import Cluster
from arrow_ingest.kafka.consumer import Consumer
from arrow_ingest.kafka.message import Message
from arrow_ingest.lake.catalog import catalog_of
from arrow_ingest.lake.conform import Stamp
from arrow_ingest.lake.schema import TablePlan, plan_for
from arrow_ingest.lake.session import open_lake
from arrow_ingest.lake.sql import change_table, in_lake
from arrow_ingest.lake.tables import read_table_schema
from arrow_ingest.pipeline.rows import MessageRows, rows_of
from arrow_ingest.values import Position, Rejection


@dataclass(frozen=True, slots=True)
class Outcome:
    """What would become of one payload.

    Args:
        source: the file, or ``partition@offset``.
        columns: name and Arrow type of the message's columns; empty for a dead letter.
        ddl: the statements that would change the table first.
        partitions: rows per table partition; the key None: the NULL partition, or an unpartitioned table.
        rejection: why it would become a dead letter, None if it would not.
    """

    source: str
    payload_bytes: int | None
    rows: int = 0
    columns: Mapping[str, str] = field(default_factory=dict)
    ddl: tuple[str, ...] = ()
    partitions: Mapping[str | None, int] = field(default_factory=dict)
    rejection: Rejection | None = None


@click.command()
@click.argument("targets", nargs=-1, metavar="[FILE...|PIPELINE]")
@click.option("--pipeline", help="Whose settings FILEs are held against. Default: the project's only pipeline.")
@click.option(
    "--last", type=click.IntRange(min=1), default=1, show_default=True, help="Messages per partition of the topic."
)
@common
def inspect(options: Common, targets: tuple[str, ...], pipeline: str | None, last: int) -> None:
    """Tell what would become of each FILE as a message's payload, or of the last messages of PIPELINE's topic.

    Shows rows, columns, the table partitions and the DDL that would run first, or why it would become a dead letter
    (then the exit code is 1). Nothing is written.
    """
    files = [Path(target) for target in targets]
    if len(targets) == 1 and not files[0].exists():
        config, payloads = options.pipeline(targets[0]), None
    else:
        config = options.pipeline(pipeline)
        payloads = [(str(file), _read(file)) for file in files]
    plan = current_plan(config)
    outcomes = list(outcomes_of(payloads or last_payloads(config, last), config, plan))
    if options.as_json:
        print_json(outcomes)
    else:
        print_people(*sentences(outcomes))
    rejected = any(outcome.rejection for outcome in outcomes)
    click.get_current_context().exit(Exit.FINDING if rejected else Exit.OK)


def _read(file: Path) -> pa.Buffer:
    try:
        return pa.py_buffer(file.read_bytes())
    except OSError as error:
        raise click.BadParameter(f"{file}: {error.strerror}") from error


def current_plan(config: PipelineConfig) -> TablePlan:
    """The plan of the table as it is now; of a new one where there is no lake yet."""
    if not catalog_of(config.lake).exists():
        return plan_for(config, None)
    with open_lake(config.lake, read_only=True) as lake:
        return plan_for(config, read_table_schema(lake, config.lake))


def last_payloads(config: PipelineConfig, last: int) -> Iterator[tuple[str, pa.Buffer | None]]:
    """The last messages of every partition, ascending by partition and offset: place and payload.

    Raises:
        BrokerUnavailable, TopicMissing: as it says.
    """
    with Cluster(config.kafka) as cluster:
        topic = cluster.topic_state()
    starts = {partition: max(topic.low[partition], high - last) for partition, high in topic.high.items()}
    unread = {partition for partition, start in starts.items() if start < topic.high[partition]}
    if not unread:
        return
    found: list[Message] = []
    with Consumer(
        config.kafka,
        group=config.group,
        positions={partition: Position(starts[partition]) for partition in unread},
        max_message_bytes=config.limits.max_message_bytes,
        max_queued_bytes=config.limits.max_message_bytes,
    ) as consumer:
        while unread:
            for event in consumer.poll():
                if isinstance(event, Message):
                    found.append(event)
                else:
                    unread.discard(event.partition)
    for message in sorted(found, key=lambda message: (message.partition, message.offset)):
        yield f"{message.partition}@{message.offset}", message.payload


def outcomes_of(
    payloads: Iterable[tuple[str, pa.Buffer | None]], config: PipelineConfig, plan: TablePlan
) -> Iterator[Outcome]:
    """What would become of the payloads, one after another: a later one finds the columns that an earlier one adds."""
    stamp = Stamp(generation=0, partition=0, offset=0, timestamp_ms=None, inserted_at=datetime.now(UTC))
    for source, payload in payloads:
        size = None if payload is None else payload.size
        rows = rows_of(payload, config, plan, stamp)
        if isinstance(rows, Rejection):
            yield Outcome(source, size, rejection=rows)
            continue
        yield Outcome(
            source,
            size,
            rows=rows.rows,
            columns={column.name: str(column.type) for column in rows.schema},
            ddl=_ddl(config, rows.plan),
            partitions=_rows_by_partition(rows),
        )
        plan = rows.plan.committed()


def _ddl(config: PipelineConfig, plan: TablePlan) -> tuple[str, ...]:
    name = in_lake(config.lake.schema_name, config.lake.table)
    return tuple(text for change in plan.changes for text in change_table(name, change, config.partition_by))


def _rows_by_partition(rows: MessageRows) -> dict[str | None, int]:
    counts: dict[str | None, int] = {}
    for piece in rows.slices:
        counts[piece.value] = counts.get(piece.value, 0) + piece.rows.num_rows
    return counts


def sentences(outcomes: Sequence[Outcome]) -> Iterator[RenderableType]:
    """What people see; columns are shown where they are not those of the payload before."""
    before: Outcome | None = None
    for outcome in outcomes:
        size = "no value" if outcome.payload_bytes is None else f"{cell(outcome.payload_bytes)} bytes"
        if outcome.rejection is not None:
            yield f"{outcome.source}: {size}, DEAD LETTER ({outcome.rejection.reason}): {outcome.rejection.detail}"
            continue
        parts = ", ".join(f"{value or 'NULL'} ({cell(rows)})" for value, rows in outcome.partitions.items())
        yield f"{outcome.source}: {size}, {cell(outcome.rows)} rows{f' of {parts}' if any(outcome.partitions) else ''}"
        if before is None or before.columns != outcome.columns:
            yield table(["column", "type"], outcome.columns.items())
        yield from (f"{statement};" for statement in outcome.ddl)
        before = outcome
    if not outcomes:
        yield "The topic is empty."
