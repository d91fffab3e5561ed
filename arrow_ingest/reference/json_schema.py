"""The pipeline's model to a JSON schema of its YAML, for editors.

An editor sees the file before its templates are filled in, so every plain setting may also be text with ``{{ … }}`` in
it. What no schema can say (names, paths, settings that exclude each other) the model still checks when it loads.
"""

from collections.abc import Mapping
from typing import Any

from arrow_ingest.config import PipelineConfig
from arrow_ingest.reference.settings import Setting, Settings, model_settings, referred_to

TEMPLATE = {
    "type": "string",
    "pattern": r"\{\{.*\}\}|\{%.*%\}",
    "description": "A template such as {{ env.NAME }} or {{ env('NAME', 'default') }}.",
}

BESIDE_ATTRIBUTES: Mapping[str, dict[str, Any]] = {
    "template_vars_module": {"type": "string", "description": "Dagster: module with functions for templates."},
    "requirements": {"type": "object", "description": "Dagster: what the component needs to load."},
    "post_processing": {"type": "object", "description": "Dagster: changes to the assets once they are made."},
}
"""What Dagster takes in a component's document beside type and attributes; a contract test reads Dagster's model."""


def document_schema() -> dict[str, Any]:
    """The schema of one YAML document that declares a pipeline."""
    models = model_settings(PipelineConfig)
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "A pipeline of arrow_ingest: one Kafka topic to one DuckLake table",
        "type": "object",
        "required": ["type", "attributes"],
        "additionalProperties": False,
        "properties": {
            "type": {"const": "arrow_ingest.KafkaToDuckLake", "description": "The component."},
            "attributes": {"$ref": f"#/definitions/{PipelineConfig.__name__}"},
            **BESIDE_ATTRIBUTES,
        },
        "definitions": {"Template": TEMPLATE} | {model.name: _object(model) for model in models},
    }


def _object(model: Settings) -> dict[str, Any]:
    return {
        "type": "object",
        "description": model.description,
        "additionalProperties": False,
        "required": [setting.key for setting in model.settings if setting.is_required],
        "properties": {setting.key: _property(setting) for setting in model.settings},
    }


def _property(setting: Setting) -> dict[str, Any]:
    """One setting; a nested model as a whole is not a template, which keeps an editor's hints about its keys short."""
    shown = {"description": setting.description}
    if not setting.is_required and referred_to(setting.schema) is None:
        shown["default"] = setting.default
    if (model := referred_to(setting.schema)) is not None:
        return shown | {"allOf": [{"$ref": f"#/definitions/{model}"}]}
    return shown | {"anyOf": [*_alternatives(setting.schema), {"$ref": "#/definitions/Template"}]}


def _alternatives(schema: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What a value may be, as a list of schemas without titles and defaults."""
    return [_as_written(option) for option in schema.get("anyOf", [schema])]


def _as_written(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A value as YAML has it: the model makes text of numbers."""
    if (model := referred_to(schema)) is not None:
        return {"$ref": f"#/definitions/{model}"}
    kept = {key: value for key, value in schema.items() if key not in ("title", "default", "description", "ge")}
    if kept.get("type") == "string" and not {"enum", "const", "format", "pattern"} & kept.keys():
        kept["type"] = ["string", "number"]
    if isinstance(items := kept.get("items"), dict):
        kept["items"] = {"anyOf": [*_alternatives(items), {"$ref": "#/definitions/Template"}]}
    if isinstance(values := kept.get("additionalProperties"), dict):  # librdkafka's properties may be true or false
        options = [*_alternatives(values), {"$ref": "#/definitions/Template"}]
        kept["additionalProperties"] = {"anyOf": options + [{"type": "boolean"}] * (values.get("type") == "string")}
    return kept
