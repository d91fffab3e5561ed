"""The alert sensor: what happened to a pipeline to messages, once when an incident begins and once when it is over.

A message that a target does not take waits in the cursor for the next tick. The cursor is stored when the tick ends: a
code server that dies between a delivery and that moment delivers again.
"""

import time
from dataclasses import replace

import dagster as dg

from arrow_ingest import environment
from arrow_ingest.alerts.delivery import send, targets
from arrow_ingest.alerts.incidents import diff
from arrow_ingest.alerts.messages import Links, messages
from arrow_ingest.alerts.outbox import Memory, deliver
from arrow_ingest.components.alert_history import History
from arrow_ingest.components.names import Names
from arrow_ingest.config import PipelineConfig

TICK_SECONDS = 15
DELIVERY_SECONDS = 20.0
"""No delivery begins later in a tick; Dagster ends a tick after a minute, and what it did would be done again."""


def build_alert_sensor(config: PipelineConfig) -> dg.SensorDefinition:
    """The sensor that tells of failed checks, suspended lanes and failed runs, and of their end."""
    names = Names.of(config)
    links = Links(config.alerts.base_url, tuple(names.table.path))

    @dg.sensor(
        name=names.alert_sensor,
        minimum_interval_seconds=TICK_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Sends what is wrong with {config.name}, and that it is over, to {environment.ALERT_URLS}.",
    )
    def alert_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        found = targets(environment.alert_urls())
        if not found:
            return dg.SkipReason(f"nobody to tell: {environment.ALERT_URLS} is not set")
        now, deadline = time.time(), time.monotonic() + DELIVERY_SECONDS
        memory = Memory.parse(context.cursor)
        reading = History(context.instance, config, now).since(memory.read_through, memory.read)
        known, changes = diff(memory.known, reading.observed)
        memory = replace(memory, read_through=now, read=reading.read, known=known)
        memory = memory.with_waiting(messages(config.name, changes, links), found)
        waiting, failures = deliver(memory.waiting, found, send, lambda: time.monotonic() < deadline)
        said = [f"{target.name}: {why}; tried again on the next tick" for target, why in failures.items()]
        for line in said:
            context.log.warning(line)
        told = f"{len(changes)} incidents began or ended, {len(known)} are open"
        return dg.SensorResult(skip_reason="; ".join([told, *said]), cursor=replace(memory, waiting=waiting).text())

    return alert_sensor
