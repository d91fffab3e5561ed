"""`arrow-ingest produce`: generated events, or files as they are, to a pipeline's topic."""

import random
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import click

from arrow_ingest.cli.options import Common, common
from arrow_ingest.cli.output import print_json, print_people, table
from arrow_ingest.cli.progress import counting
from arrow_ingest.cli.signals import stop_on_signals
from arrow_ingest.config import PipelineConfig
from arrow_ingest.kafka.cluster import Cluster
from arrow_ingest.kafka.properties import admin_properties
from arrow_ingest.producer.arrow import Acknowledged, ArrowProducer
from arrow_ingest.producer.events import EventGenerator
from arrow_ingest.producer.produce import produce_events
from arrow_ingest.producer.streams import Compression


@click.command()
@click.argument("pipeline", required=False)
@click.option("--batches", type=click.IntRange(min=0), help="How many. Default: until Ctrl-C.")
@click.option("--rows-per-batch", type=click.IntRange(min=1), default=1_000, show_default=True)
@click.option(
    "--rate", type=click.FloatRange(min=0), default=10.0, show_default=True, help="Batches a second; 0: no limit."
)
@click.option("--days", type=click.IntRange(min=1), default=1, show_default=True, help="Event days, some rows late.")
@click.option("--compression", type=click.Choice(["none", "lz4", "zstd"]), default="none", show_default=True)
@click.option("--seed", type=int, help="The same seed makes the same events of a day. Default: another one each time.")
@click.option(
    "--payload-file",
    "payload_files",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    help="Send this file's bytes as one message, whatever they are. Repeatable; no events unless --batches says so.",
)
@common
def produce(
    options: Common,
    pipeline: str | None,
    *,
    batches: int | None,
    rows_per_batch: int,
    rate: float,
    days: int,
    compression: str,
    seed: int | None,
    payload_files: tuple[Path, ...],
) -> None:
    """Send PostHog-shaped events to the topic of PIPELINE, each batch as one Arrow IPC stream in one message.

    Counts are of what the broker has acknowledged.
    """
    config = options.pipeline(pipeline)
    seed = random.SystemRandom().randrange(2**31) if seed is None else seed
    generator = EventGenerator(seed, now=datetime.now(UTC), days=days)
    wanted = 0 if payload_files and batches is None else batches
    began = time.monotonic()
    with _producer(config, compression) as producer:
        for file in payload_files:
            producer.send_payload(file.read_bytes())
        events = produce_events(producer, generator, batches=wanted, rows=rows_per_batch, batches_per_second=rate)
        with stop_on_signals() as stop, counting(config.kafka.topic, lambda: wanted) as advance:
            _follow(events, advance, stop)
        producer.flush()
    numbers = {**asdict(producer.acknowledged), "seconds": round(time.monotonic() - began, 3), "seed": seed}
    if options.as_json:
        print_json({"topic": config.kafka.topic, **numbers})
    else:
        print_people(f"sent to {config.kafka.topic}:", table(list(numbers), [list(numbers.values())]))


def _follow(events: Iterable[Acknowledged], advance: Callable[[int], None], stop: threading.Event) -> None:
    """Show how many messages are acknowledged, until there are no more or the event is set."""
    shown = 0
    for acknowledged in events:
        advance(acknowledged.messages - shown)
        shown = acknowledged.messages
        if stop.is_set():
            return


def _producer(config: PipelineConfig, compression: str) -> ArrowProducer:
    """A producer for the pipeline's topic, once the broker has answered: a producer alone would wait for minutes.

    Raises:
        BrokerUnavailable, TopicMissing: within seconds.
    """
    with Cluster(config.kafka) as cluster:
        cluster.topic_id()
    return ArrowProducer(
        config.kafka.topic,
        # One message is a batch already. The embedded broker also says wrongly where a log ends that has several
        # messages in its last batch: one behind the first of them.
        {"batch.num.messages": 1, **admin_properties(config.kafka)},
        compression=None if compression == "none" else cast(Compression, compression),
        max_message_bytes=config.limits.max_message_bytes,
    )
