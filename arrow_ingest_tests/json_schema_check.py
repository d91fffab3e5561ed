"""A value and a JSON schema in, the first place where they disagree out; only the keywords that our schema uses."""

import re
from collections.abc import Mapping
from typing import Any

_TYPES = {
    "string": str,
    "integer": int,
    "number": int | float,
    "boolean": bool,
    "object": dict,
    "array": list,
    "null": type(None),
}
_SAY_NOTHING = {"$schema", "title", "description", "default", "definitions", "format"}
_KNOWN = _SAY_NOTHING | {
    *("$ref", "allOf", "anyOf", "type", "enum", "const", "pattern", "required", "properties", "additionalProperties"),
    *("items", "minimum", "maximum", "exclusiveMinimum", "minLength", "maxLength"),
}


def disagreement(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any], at: str = "") -> str | None:
    """Where a value is not what the schema says, None when it is.

    Args:
        root: the whole schema, in which ``$ref`` is looked up.
    """
    assert schema.keys() <= _KNOWN, f"a keyword that this check does not know: {schema.keys() - _KNOWN}"
    if "$ref" in schema:
        return disagreement(value, root["definitions"][schema["$ref"].removeprefix("#/definitions/")], root, at)
    if not _fits_plain(value, schema):
        return f"{at or 'document'}: {value!r}"
    if any(disagreement(value, part, root, at) for part in schema.get("allOf", ())):
        return next(found for part in schema["allOf"] if (found := disagreement(value, part, root, at)))
    if "anyOf" in schema and all(disagreement(value, part, root, at) for part in schema["anyOf"]):
        return f"{at}: {value!r} is none of the alternatives"
    return _inside(value, schema, root, at)


def _inside(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any], at: str) -> str | None:
    if isinstance(value, list):
        items = schema.get("items", {})
        return next(
            (found for n, item in enumerate(value) if (found := disagreement(item, items, root, f"{at}[{n}]"))), None
        )
    if not isinstance(value, dict):
        return None
    if missing := set(schema.get("required", ())) - value.keys():
        return f"{at}: without {', '.join(sorted(missing))}"
    others = schema.get("additionalProperties", True)
    for key, item in value.items():
        part = schema.get("properties", {}).get(key, others)
        if part is False:
            return f"{at}.{key}: no such key"
        if part is not True and (found := disagreement(item, part, root, f"{at}.{key}")):
            return found
    return None


def _fits_plain(value: Any, schema: Mapping[str, Any]) -> bool:
    if "const" in schema and value != schema["const"]:
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    names = schema.get("type", list(_TYPES))
    kinds = [names] if isinstance(names, str) else names
    if isinstance(value, bool) and "boolean" not in kinds:
        return False
    if not any(isinstance(value, _TYPES[kind]) for kind in kinds):
        return False
    if isinstance(value, str):
        long_enough = schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value))
        return long_enough and re.search(schema.get("pattern", ""), value) is not None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return (
            schema.get("minimum", value) <= value <= schema.get("maximum", value)
            and schema.get("exclusiveMinimum", value - 1) < value
        )
    return True
