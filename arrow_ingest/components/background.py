"""A drain on a thread of its own, its receipts on the caller's.

Dagster ends a step by raising on its main thread, between any two bytecodes. On a thread of its own the drain never
meets that exception in the middle of a native call: it is asked to stop, and commits or abandons its micro-batch.
"""

import queue
import threading
from collections.abc import Callable, Iterator
from contextvars import copy_context
from types import TracebackType
from typing import Self

from arrow_ingest.values import Receipt

Drain = Callable[[threading.Event], Iterator[Receipt | None]]
"""Starts a drain that ends soon after the event is set."""


class BackgroundDrain:
    """Iterates over a drain's receipts; None about once a second while there is none.

    Leaving the context asks the drain to stop and waits for it: the lane's lock is free afterwards. A second interrupt
    ends the waiting; the thread is a daemon, so it then ends with the process, and the fence keeps the lake right.
    """

    def __init__(self, drain: Drain, *, heartbeat_seconds: float = 1.0) -> None:
        self._drain = drain
        self._heartbeat_seconds = heartbeat_seconds
        self._stop = threading.Event()
        self._items: queue.SimpleQueue[Receipt | BaseException | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=copy_context().run, args=(self._work,), name="drain", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()

    def __iter__(self) -> Iterator[Receipt | None]:
        """Receipts in order.

        Raises:
            BaseException: what the drain raised, after its receipts.
        """
        while True:
            try:
                item = self._items.get(timeout=self._heartbeat_seconds)
            except queue.Empty:
                yield None
                continue
            if isinstance(item, BaseException):
                raise item
            if item is None:
                return
            yield item

    def _work(self) -> None:
        try:
            for receipt in self._drain(self._stop):
                if receipt is not None:
                    self._items.put(receipt)
            self._items.put(None)
        except BaseException as error:  # noqa: BLE001 - raised again where the receipts are read
            self._items.put(error)
