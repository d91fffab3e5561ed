"""Runs of a lane in processes of their own, forked from one that has imported all they need.

Usage: ``python -m arrow_ingest_tests.chaos.nursery MODULE``

Each line of standard input is a JSON list: where a run's output goes, where its complaints go, and the arguments of the
module's ``main``, which is the run. When it has ended, its exit code is one line of output, negative for a signal.
"""

import importlib
import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import NoReturn, Self

from arrow_ingest.config import PipelineConfig


class Nursery:
    """The parent of runs; a context manager. To import takes longer than to drain a few messages.

    Args:
        folder: gets what the runs say.
        subject: whose ``main`` a run is; it takes the pipeline's settings as its first argument.
    """

    def __init__(self, folder: Path, subject: ModuleType) -> None:
        self._subject = subject.__name__
        self._out, self._complaints = folder / "run.out", folder / "run.err"

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", __name__, self._subject]
        self._parent = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._parent.kill()
        self._parent.communicate()

    def run(self, config: PipelineConfig, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """What became of a run that takes these arguments after the settings."""
        settings = json.dumps(config.model_dump(mode="json", by_alias=True))
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        print(
            json.dumps([str(self._out), str(self._complaints), settings, *arguments]),
            file=self._parent.stdin,
            flush=True,
        )
        code = self._parent.stdout.readline()
        assert code, "the parent of runs has died"
        said, complained = self._out.read_text(), self._complaints.read_text()
        return subprocess.CompletedProcess(arguments, int(code), said, complained)


def main() -> None:
    """Fork a run for each line."""
    run = importlib.import_module(sys.argv[1]).main
    for line in sys.stdin:
        out, complaints, *arguments = json.loads(line)
        if (child := os.fork()) == 0:
            for stream, path in ((0, os.devnull), (1, out), (2, complaints)):
                os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600), stream)
            sys.argv[1:] = arguments
            _child(run)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def _child(run: Callable[[], None]) -> NoReturn:
    """A run, which the interpreter does not end: importing DuckDB starts a thread that no fork has, and is missed."""
    code = 1
    try:
        run()
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:  # noqa: BLE001 - as the interpreter shows it
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
