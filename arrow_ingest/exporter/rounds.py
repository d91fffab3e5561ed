"""Pipelines in, looks at them out, round after round; what keeps a lake or a broker from answering is logged once."""

import logging
import threading
import time
from collections.abc import Callable, Sequence

from arrow_ingest.config import PipelineConfig
from arrow_ingest.errors import ArrowIngestError
from arrow_ingest.exporter.lake_process import LakeProcess
from arrow_ingest.exporter.look import LakeNumbers, Look
from arrow_ingest.pipeline.standing import at_broker
from arrow_ingest.values import TopicState

log = logging.getLogger(__name__)

MOST_OF_THE_TIME = 0.1
"""The share of the time that looking may take: when a round takes longer, the next one comes later."""


class Rounds:
    """Looks at each pipeline in turn; used by one thread."""

    def __init__(self, configs: Sequence[PipelineConfig], lake: LakeProcess) -> None:
        self._configs = tuple(configs)
        self._lake = lake
        self._silent: dict[tuple[str, str], str] = {}

    def look(self, number: int) -> Look:
        """Ask the lake, then the broker: the other way round a drain that goes on would seem to be ahead of the log."""
        began = time.monotonic()
        lake = self.in_lake(number)
        topic = self._at_broker(self._configs[number])
        return Look(self._configs[number], time.time(), time.monotonic() - began, lake, topic)

    def keep_looking(self, show: Callable[[Look], None], stop: threading.Event, every_seconds: float) -> None:
        """Show a look at each pipeline, again and again until ``stop`` is set."""
        while not stop.is_set():
            began = time.monotonic()
            for number in range(len(self._configs)):
                if not stop.is_set():
                    show(self.look(number))
            stop.wait(pause_seconds(time.monotonic() - began, every_seconds))

    def in_lake(self, number: int) -> LakeNumbers | None:
        """What the lake says; None, and the reason in the log, while it says nothing."""
        try:
            numbers = self._lake.read(number)
        except ArrowIngestError as error:
            self._note(self._configs[number].name, "lake", str(error))
            return None
        self._note(self._configs[number].name, "lake", None)
        return numbers

    def _at_broker(self, config: PipelineConfig) -> TopicState | None:
        try:
            topic, unreachable = at_broker(config)
            why = None if unreachable is None else str(unreachable)
        except ArrowIngestError as error:
            topic, why = None, str(error)
        self._note(config.name, "broker", why)
        return topic

    def _note(self, pipeline: str, what: str, why: str | None) -> None:
        """Log a change: not the same sentence every few seconds."""
        before = self._silent.pop((pipeline, what), None)
        if why is not None:
            self._silent[pipeline, what] = why
            if why != before:
                log.warning("%s: the %s cannot be asked: %s", pipeline, what, why, extra={"pipeline": pipeline})
        elif before is not None:
            log.info("%s: the %s answers again", pipeline, what, extra={"pipeline": pipeline})


def pause_seconds(round_seconds: float, every_seconds: float) -> float:
    """How long to rest after a round.

    >>> pause_seconds(0.5, 15.0), pause_seconds(3.0, 15.0)
    (14.5, 27.0)
    """
    return max(every_seconds - round_seconds, round_seconds / MOST_OF_THE_TIME - round_seconds)
