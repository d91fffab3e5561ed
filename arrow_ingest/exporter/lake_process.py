"""Pipelines in, the lake's numbers of each out, read by a child process.

A process that has a PostgreSQL catalog attached may be aborted when the server goes away (FACTS), and a server that
hangs keeps a query for ever. Neither may end the exporter, so the lake is read by a child: one that died, or that was
silent for too long, is replaced at the next question.
"""

import multiprocessing
import signal
from collections.abc import Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Self

from arrow_ingest.config import PipelineConfig
from arrow_ingest.errors import ArrowIngestError, CatalogUnavailable
from arrow_ingest.exporter.lake_numbers import LakeReader
from arrow_ingest.exporter.look import LakeNumbers

ANSWER_SECONDS = 60.0
"""How long one pipeline's numbers may take; a child's first answer includes its start."""


class LakeProcess:
    """The child; a context manager, used by one thread."""

    def __init__(self, configs: Sequence[PipelineConfig], *, answer_seconds: float = ANSWER_SECONDS) -> None:
        self._configs = tuple(configs)
        self._answer_seconds = answer_seconds
        self._child: tuple[BaseProcess, Connection] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.end()

    @property
    def pid(self) -> int | None:
        """The child's process id; None: there is none now."""
        return self._child[0].pid if self._child else None

    def read(self, number: int) -> LakeNumbers:
        """What the lake says of the pipeline with this number.

        Raises:
            ArrowIngestError: what reading raised; `CatalogUnavailable` also when the child died or was silent.
        """
        if self._child is not None and not self._child[0].is_alive():
            self.end()  # it died between two questions
        process, connection = self._child = self._child or self._started()
        try:
            connection.send(number)
            if not connection.poll(self._answer_seconds):
                self.end()
                raise CatalogUnavailable(f"no answer from the lake within {self._answer_seconds:g} s")
            answer: LakeNumbers | str = connection.recv()
        except (EOFError, OSError) as error:
            process.join(self._answer_seconds)
            code = process.exitcode
            self.end()
            raise CatalogUnavailable(
                f"the process that reads the lake ended with {code}: the catalog was lost"
            ) from error
        if isinstance(answer, str):
            raise CatalogUnavailable(answer)
        return answer

    def interrupt(self) -> None:
        """Let a `read` that another thread is at fail now."""
        if self._child is not None:
            self._child[0].kill()

    def end(self) -> None:
        """End the child, whatever it is at; it only reads."""
        if self._child is not None:
            process, connection = self._child
            self._child = None
            connection.close()
            process.kill()
            process.join()

    def _started(self) -> tuple[BaseProcess, Connection]:
        # Not forked: threads run here, and a fork would have their locks as they were.
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_answer, args=(theirs, self._configs), name="lake", daemon=True)
        process.start()
        theirs.close()
        return process, ours


def _answer(connection: Connection, configs: Sequence[PipelineConfig]) -> None:
    """The child: a pipeline's number in, its numbers or why there are none out, until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends us
    readers = [LakeReader(config) for config in configs]
    while True:
        try:
            number = connection.recv()
        except EOFError:
            return
        try:
            connection.send(readers[number].read())
        except ArrowIngestError as error:
            connection.send(str(error))
