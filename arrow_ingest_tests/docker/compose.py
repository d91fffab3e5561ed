"""`docker/compose.yaml` in, its services out as Compose would have them: merged, with values from outside put in."""

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent.parent
DOCKER = ROOT / "docker"

_PLACE = re.compile(r"\$\{(?P<name>[A-Z_]+)(?::(?P<operator>[-?])(?P<rest>[^}]*))?\}")


@dataclass(frozen=True, slots=True)
class Interpolation:
    """One ``${NAME}`` of the file; ``default`` is None where the file insists on a value."""

    name: str
    default: str | None


def document() -> dict[str, Any]:
    """The file as YAML, anchors and merges resolved, nothing put in."""
    loaded: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())
    return loaded


def interpolations() -> frozenset[Interpolation]:
    """Everything that the file takes from outside."""
    text = "\n".join(
        line for line in (DOCKER / "compose.yaml").read_text().splitlines() if not line.lstrip().startswith("#")
    )
    return frozenset(
        Interpolation(found["name"], None if found["operator"] == "?" else found["rest"] or "")
        for found in _PLACE.finditer(text)
    )


def services(values: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """The services with ``values`` put in.

    Raises:
        KeyError: a value is missing or empty that the file insists on.
    """
    found: dict[str, dict[str, Any]] = interpolated(document()["services"], values)
    return found


def interpolated(part: Any, values: Mapping[str, str]) -> Any:
    """A part of the document with ``values`` put in.

    >>> interpolated({"a": ["${X}/${Y:-y}", 1]}, {"X": "x"})
    {'a': ['x/y', 1]}
    """
    if isinstance(part, dict):
        return {key: interpolated(item, values) for key, item in part.items()}
    if isinstance(part, list):
        return [interpolated(item, values) for item in part]
    return _PLACE.sub(lambda place: _value(place, values), part) if isinstance(part, str) else part


def made_env(folder: Path) -> dict[str, str]:
    """What `docker/make-env` writes, as it would stand in `docker/.env`, made in ``folder``."""
    for name in ("make-env", ".env.example"):
        (folder / name).write_bytes((DOCKER / name).read_bytes())
    subprocess.run(["/bin/sh", str(folder / "make-env")], check=True, capture_output=True, timeout=60)
    return variables_of(folder / ".env")


def variables_of(env_file: Path) -> dict[str, str]:
    """The variables of an env file."""
    lines = (line for line in env_file.read_text().splitlines() if line and not line.startswith("#"))
    return dict(line.split("=", 1) for line in lines)


def _value(place: re.Match[str], values: Mapping[str, str]) -> str:
    value = values.get(place["name"], "")
    if value or place["operator"] is None:
        return value
    if place["operator"] == "?":
        raise KeyError(place["name"])
    return str(place["rest"])
