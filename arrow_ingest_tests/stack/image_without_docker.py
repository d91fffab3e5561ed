"""The Dockerfile's instructions in, what the image would hold out: built below a folder, without Docker.

RUN and COPY are done as they stand, with the folder before the image's absolute paths. What needs root or a base image
(users, FROM) is left out; the base image's Python is a virtual environment of this one.
"""

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

from arrow_ingest_tests.docker.compose import DOCKER, ROOT
from arrow_ingest_tests.docker.dockerfile import Instruction, of, stages

STEP_SECONDS = 900.0
TOPS = ("/opt/", "/src", "/wheels")
"""What the image's absolute paths begin with."""


class Image:
    """What was built; ``folder`` takes the place of /."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        _, build, image = stages((DOCKER / "Dockerfile").read_text())
        base = folder / "base"
        venv.create(base, with_pip=True, symlinks=True)
        self._environ = {**os.environ, "PATH": f"{base / 'bin'}:{os.environ['PATH']}"}
        self._build(build)
        self._copy_settings(image)
        self.environ = self._variables(image)
        self.project = Path(self.placed(of(image, "WORKDIR")[0].text))
        self.project.mkdir(parents=True)
        self.venv = folder / "opt" / "venv"

    def placed(self, text: str) -> str:
        """A text with the image's absolute paths below the folder."""
        for top in TOPS:
            text = text.replace(top, f"{self.folder}{top}")
        return text

    def _build(self, stage: Sequence[Instruction]) -> None:
        self._environ |= self._variables(stage)
        del self._environ["PIP_NO_CACHE_DIR"]  # keeps layers small; here it would download everything again
        for instruction in stage:
            if instruction.name == "WORKDIR":
                source = Path(self.placed(instruction.text))
                source.mkdir(parents=True)
            elif instruction.name == "COPY":
                self._copy(instruction, source)
            elif instruction.name == "RUN":
                command = ["/bin/sh", "-ec", self.placed(instruction.text)]
                done = subprocess.run(
                    command, cwd=source, env=self._environ, capture_output=True, text=True, check=False,
                    timeout=STEP_SECONDS,
                )  # fmt: skip
                assert done.returncode == 0, done.stdout + done.stderr

    def _copy(self, instruction: Instruction, source: Path) -> None:
        *names, _ = instruction.words
        for name in names:
            ignored = shutil.ignore_patterns("__pycache__")
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, source / name, ignore=ignored)
            else:
                shutil.copy(ROOT / name, source / name)

    def _copy_settings(self, stage: Sequence[Instruction]) -> None:
        [copy] = [copy for copy in of(stage, "COPY") if "from" not in copy.flags]
        *names, target = copy.words
        Path(self.placed(target)).mkdir(parents=True)
        for name in names:
            shutil.copy(ROOT / name, self.placed(target))

    def _variables(self, stage: Sequence[Instruction]) -> dict[str, str]:
        words = [word for instruction in of(stage, "ENV") for word in instruction.words]
        given = dict(word.split("=", 1) for word in words)
        return {name: self.placed(value).replace("$PATH", os.environ["PATH"]) for name, value in given.items()}


def pins() -> dict[str, str]:
    """The versions of constraints.txt, by name."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if "==" in line)


def installed(python: Path) -> dict[str, str]:
    """What a Python has installed, by name, without what every virtual environment has."""
    listing = subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(python), "list", "--format=freeze"],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout
    found = dict(line.split("==") for line in listing.splitlines() if "==" in line)
    plain = {name.lower().replace("_", "-").replace(".", "-"): version for name, version in found.items()}
    return {name: version for name, version in plain.items() if name not in {"pip", "setuptools", "arrow-ingest"}}
