"""A pydantic model to its settings in order: key, schema, default and description, for every model that it nests."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

_REF = "#/$defs/"
_UNITS = ((1024**3, "GiB"), (1024**2, "MiB"), (1024, "KiB"))


@dataclass(frozen=True, slots=True)
class Setting:
    """One key of the YAML.

    Args:
        schema: pydantic's JSON schema of its value.
        default: as one would write it in YAML; None also where there is none, see ``is_required``.
    """

    key: str
    schema: Mapping[str, Any]
    description: str
    default: Any
    is_required: bool


@dataclass(frozen=True, slots=True)
class Settings:
    """One model: the name of its class, its docstring, and its settings in the order of the class."""

    name: str
    description: str
    settings: tuple[Setting, ...]


def model_settings(model: type[BaseModel]) -> tuple[Settings, ...]:
    """A model and every model that it nests, each once, in the order in which they are met."""
    schema = model.model_json_schema()
    models = schema.get("$defs", {})
    return tuple(_settings(name, found, models) for name, found in _nested(model.__name__, schema, models))


def referred_to(schema: Mapping[str, Any]) -> str | None:
    """The name of the model that a value is, if it is one.

    >>> referred_to({"$ref": "#/$defs/Flush"}), referred_to({"type": "integer"})
    ('Flush', None)
    """
    return schema["$ref"].removeprefix(_REF) if "$ref" in schema else None


def is_size(schema: Mapping[str, Any]) -> bool:
    """Whether a value is a number of bytes, which may carry a unit."""
    kinds = [(option.get("type"), "pattern" in option) for option in schema.get("anyOf", ())]
    return kinds == [("string", True), ("integer", False)]


def size_text(size: int) -> str:
    """A number of bytes as one writes it.

    >>> size_text(128 * 1024**2), size_text(1000)
    ('128MiB', '1000')
    """
    return next((f"{size // unit}{name}" for unit, name in _UNITS if size and size % unit == 0), str(size))


def _nested(
    name: str, schema: Mapping[str, Any], models: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The model itself, then depth first what it refers to; a model that two settings share comes once."""
    met: dict[str, Mapping[str, Any]] = {}
    waiting = [(name, schema)]
    while waiting:
        name, found = waiting.pop(0)
        if name not in met:
            met[name] = found
            inner = [reference for value in found.get("properties", {}).values() for reference in _references(value)]
            waiting = [(reference, models[reference]) for reference in inner] + waiting
    yield from met.items()


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if (name := referred_to(schema)) is not None:
            yield name
        for value in schema.values():
            yield from _references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _references(value)


def _settings(name: str, schema: Mapping[str, Any], models: Mapping[str, Mapping[str, Any]]) -> Settings:
    required = schema.get("required", [])
    return Settings(
        name=name,
        description=schema.get("description", ""),
        settings=tuple(
            Setting(
                key=key,
                schema=value,
                description=_description(value, models),
                default=_default(value),
                is_required=key in required,
            )
            for key, value in schema.get("properties", {}).items()
        ),
    )


def _description(schema: Mapping[str, Any], models: Mapping[str, Mapping[str, Any]]) -> str:
    """Its own, else its model's: pydantic leaves the former out where the two are the same."""
    model = models.get(referred_to(schema) or "", {})
    return str(schema.get("description") or model.get("description", ""))


def _default(schema: Mapping[str, Any]) -> Any:
    default = schema.get("default")
    return size_text(default) if is_size(schema) and isinstance(default, int) else default
