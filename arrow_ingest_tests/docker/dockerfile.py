"""A Dockerfile's text to its stages and instructions, and a .dockerignore's to what a build sees."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction, its continued lines joined."""

    name: str
    text: str

    @property
    def words(self) -> tuple[str, ...]:
        """Its arguments without flags."""
        return tuple(word for word in shlex.split(self.text) if not word.startswith("--"))

    @property
    def flags(self) -> dict[str, str]:
        """Its flags: ``--from=build`` is ``{"from": "build"}``."""
        given = (word[2:].partition("=") for word in shlex.split(self.text) if word.startswith("--"))
        return {name: value for name, _, value in given}


def stages(text: str) -> list[list[Instruction]]:
    r"""The instructions of each stage; what stands before the first FROM (its ARGs) is a stage of its own.

    >>> [[i.name for i in stage] for stage in stages("ARG A=1\nFROM a\nRUN x \\\n  y\nFROM b\nUSER c")]
    [['ARG'], ['FROM', 'RUN'], ['FROM', 'USER']]
    """
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n\s*", " ", lines)
    found: list[list[Instruction]] = [[]]
    for line in filter(None, (line.strip() for line in joined.splitlines())):
        name, _, rest = line.partition(" ")
        if name == "FROM":
            found.append([])
        found[-1].append(Instruction(name, rest.strip()))
    return found


def of(stage: Sequence[Instruction], name: str) -> list[Instruction]:
    """The instructions of one name, in order."""
    return [instruction for instruction in stage if instruction.name == name]


def seen(context: Path, path: str) -> bool:
    """Whether the build sees a path of its context, by .dockerignore: the last pattern that matches decides."""
    is_seen = True
    for line in (context / ".dockerignore").read_text().splitlines():
        pattern = line.strip()
        if not pattern or pattern.startswith("#"):
            continue
        glob = pattern.removeprefix("!")
        expression = re.escape(glob).replace(r"\*\*/", "(.*/)?").replace(r"\*", "[^/]*")
        if re.match(rf"{expression}(/|$)", path):
            is_seen = pattern.startswith("!")
    return is_seen
