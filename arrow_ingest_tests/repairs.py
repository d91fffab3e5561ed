"""A table with dead letters and days of events, and how it is mended: what the tests of replays and rebuilds share."""

from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from arrow_ingest.config import PipelineConfig
from arrow_ingest.lake import lanes
from arrow_ingest.lake.dead_letter_query import Wanted
from arrow_ingest.lake.session import open_lake
from arrow_ingest.lake.statistics import unresolved_letters
from arrow_ingest.pipeline.rebuild import rebuild
from arrow_ingest.pipeline.rebuild_choice import these
from arrow_ingest.pipeline.replay import Replayed, replay
from arrow_ingest.producer.arrow import ArrowProducer
from arrow_ingest.producer.events import EventGenerator
from arrow_ingest.values import Receipt
from arrow_ingest_tests.lake_contents import drained, produce, query

MESSAGES = 24
REFUSED = range(8, 16)
"""Messages that `refusing` does not take."""

DAY = "2026-11-19"
"""One of three that events are of."""


def event_generator() -> EventGenerator:
    return EventGenerator(seed=7, now=datetime(2026, 11, 20, 12, tzinfo=UTC), days=3)


def refusing(config: PipelineConfig) -> PipelineConfig:
    """The same pipeline, whose limits are too small for what is sent."""
    return config.model_copy(update={"limits": config.limits.model_copy(update={"max_rows": 10})})


def fill(config: PipelineConfig, generator: EventGenerator, *, garbage: bool = False) -> None:
    """Messages 0 to 23, of which those of `REFUSED` become dead letters; and at last one that nothing can mend."""
    for indices, taken_by in ((range(8), config), (REFUSED, refusing(config)), (range(16, MESSAGES), config)):
        produce(config, generator, indices)
        drained(taken_by)
    if garbage:
        with ArrowProducer(config.kafka.topic, {"bootstrap.servers": config.kafka.bootstrap_servers}) as producer:
            producer.send_payload(b"not arrow", partition=1)
        drained(config)


def replayed(config: PipelineConfig, wanted: Wanted | None = None, **options: Any) -> Replayed:
    return replay(config, wanted or Wanted(), **{"run_id": "operator", "wait_seconds": 0, **options})


def rebuilt(config: PipelineConfig, *days: str, **options: Any) -> list[Receipt]:
    return list(rebuild(config, these(days), **{"run_id": "operator", "wait_seconds": 0, **options}))


def unresolved(config: PipelineConfig) -> dict[str, int]:
    with open_lake(config.lake, read_only=True) as lake:
        return unresolved_letters(lake, config.name, config.lake)


def rows_of(config: PipelineConfig, day: str | None = None) -> pa.Table:
    """All columns of all rows, of one day or of all, in the order of their identity."""
    where = "" if day is None else f"WHERE timestamp::DATE = DATE '{day}'"
    return query(
        config,
        f"FROM lake.main.events {where} ORDER BY _kafka_generation, _kafka_partition, _kafka_offset, _kafka_row",
    )


def offsets_of(config: PipelineConfig) -> dict[int, int]:
    with open_lake(config.lake, read_only=True) as lake:
        return {part: at for lane in lanes.read_lanes(lake, config.name) for part, at in lane.offsets.items()}
