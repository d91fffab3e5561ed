"""Sealed micro-batches in, receipts out, in order, on one thread: a slow commit never stops the fetch."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from types import TracebackType
from typing import Generic, Self, TypeVar

from arrow_ingest.values import Receipt

Sealed = TypeVar("Sealed")


class CommitQueue(Generic[Sealed]):
    """Commits one sealed micro-batch after the other.

    After the first failure nothing further is committed: the micro-batches behind it start from a lane row that was
    never written. The failure is raised where receipts are collected.
    """

    def __init__(self, commit: Callable[[Sealed], Receipt]) -> None:
        self._commit = commit
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="commit")
        self._pending: deque[Future[Receipt]] = deque()
        self._failure: BaseException | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Let the commit under way come to its end (it bounds itself in time) and drop those behind it."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def __len__(self) -> int:
        return len(self._pending)

    def submit(self, sealed: Sealed) -> None:
        """Commit ``sealed`` after all that were submitted before it."""
        self._pending.append(self._thread.submit(copy_context().run, self._commit_unless_failed, sealed))

    def finished(self) -> Iterator[Receipt]:
        """The receipts that are ready, without waiting.

        Raises:
            ArrowIngestError: what the first commit that failed raised.
        """
        while self._pending and self._pending[0].done():
            yield self._pending.popleft().result()

    def landed(self) -> Iterator[Receipt]:
        """Wait for what is pending and give the receipts up to the first failure, which is not raised.

        For the end of a pass that has an error of its own: what landed before it must be told all the same.
        """
        while self._pending and self._pending[0].exception() is None:
            yield self._pending.popleft().result()

    def next_receipt(self, timeout_seconds: float) -> Receipt | None:
        """The next receipt in order, or None when it takes longer.

        Raises:
            ArrowIngestError: what the first commit that failed raised.
        """
        try:
            receipt = self._pending[0].result(timeout_seconds)
        except TimeoutError:
            if not self._pending[0].done():
                return None
            raise
        self._pending.popleft()
        return receipt

    def _commit_unless_failed(self, sealed: Sealed) -> Receipt:
        if self._failure is not None:
            raise self._failure
        try:
            return self._commit(sealed)
        except BaseException as failure:
            self._failure = failure
            raise
