"""The alert sensor: what happened to a pipeline to messages, once when an incident begins and once when it is over.

What is told already is remembered in Dagster's storage by the pipeline's name, not in the sensor's cursor, which a new
code location begins empty and a person can move: nothing is told again then. It is stored after each delivery: a code
server that dies between a delivery and that moment delivers one message again.
"""

import time
from dataclasses import replace

import dagster as dg

from arrow_ingest.alerts.delivery import Target, send, targets_of
from arrow_ingest.alerts.incidents import diff
from arrow_ingest.alerts.messages import Links, messages
from arrow_ingest.alerts.outbox import Limit, Memory, deliver
from arrow_ingest.components.alert_history import History
from arrow_ingest.components.alert_standing import standing
from arrow_ingest.components.names import Names
from arrow_ingest.config import PipelineConfig

TICK_SECONDS = 15
DELIVERY_SECONDS = 20.0
"""No delivery begins later in a tick; Dagster ends a tick after a minute, and what it did would be done again."""


def build_alert_sensor(config: PipelineConfig) -> dg.SensorDefinition:
    """The sensor that tells of failed checks, suspended and stale lanes, failed runs and ticks, and of their end."""
    names, told_to = Names.of(config), ", ".join(target.variable for target in config.alerts.targets)

    @dg.sensor(
        name=names.alert_sensor,
        minimum_interval_seconds=TICK_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Sends what is wrong with {config.name}, and that it is over, to {told_to or 'nobody'}.",
    )
    def alert_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        found = targets_of(config.alerts)
        if not found:
            return dg.SkipReason(f"nobody to tell: {told_to or 'alerts.targets'} is not set")
        return _tick(config, context, found)

    return alert_sensor


def _tick(config: PipelineConfig, context: dg.SensorEvaluationContext, found: tuple[Target, ...]) -> dg.SensorResult:
    now, deadline = time.time(), time.monotonic() + DELIVERY_SECONDS
    kept = KeptMemory(context.instance, config.name)
    memory = kept.read(context.cursor)
    reading = History(context.instance, config, now).since(memory.read_through, memory.read)
    observed = [*reading.observed, *standing(context.instance, config, now)]
    known, changes = diff(memory.known, observed)
    memory = replace(memory, read_through=now, read=reading.read, known=known)
    links = Links(config.alerts.base_url, tuple(Names.of(config).table.path))
    memory = memory.with_waiting(messages(config.name, changes, links), found)
    kept.write(memory)
    limit = Limit(config.alerts.max_messages, 60 * config.alerts.per_minutes)
    memory, failures = deliver(
        memory, found, send, now=now, limit=limit, has_time=lambda: time.monotonic() < deadline, keep=kept.write
    )
    said = [f"{target.name}: {why}; tried again on the next tick" for target, why in failures.items()]
    for line in said:
        context.log.warning(line)
    held = max((len(memory.waiting.get(target.id, ())) for target in found if target not in failures), default=0)
    said += [f"{held} messages wait, since {limit.messages} were sent lately"] if held else []
    told = f"{len(changes)} incidents began or ended, {len(known)} are open"
    return dg.SensorResult(skip_reason="; ".join([told, *said]))


class KeptMemory:
    """What is remembered of one pipeline's alerts, in Dagster's storage, whatever code location asks.

    Internal in Dagster 1.13 (`daemon_cursor_storage`); a test pins what is used of it.
    """

    def __init__(self, instance: dg.DagsterInstance, pipeline: str) -> None:
        self._storage = instance.daemon_cursor_storage
        self._key = f"arrow_ingest/alerts/{pipeline}"

    def read(self, cursor: str | None) -> Memory:
        """What was written last; of an earlier arrow_ingest, what its cursor holds."""
        return Memory.parse(self._storage.get_cursor_values({self._key}).get(self._key) or cursor)

    def write(self, memory: Memory) -> None:
        """Remember this."""
        self._storage.set_cursor_values({self._key: memory.text()})
