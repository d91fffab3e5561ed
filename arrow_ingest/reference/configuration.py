"""The settings of pipelines and SQL models to `docs/configuration.md`: each with its type, default and description."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from arrow_ingest.config import PipelineConfig
from arrow_ingest.model_settings import ModelConfig
from arrow_ingest.reference.settings import Setting, Settings, is_size, model_settings, referred_to, size_text

_HEAD = """\
# Configuration

Every setting of a pipeline's YAML, and of a [SQL model](#sql-models)'s. This page is generated from the
models (`make docs`); a test keeps it current.

A pipeline is one YAML document, in a `defs.yaml` below the project's `defs` folder:

```yaml
type: arrow_ingest.KafkaToDuckLake
attributes:
  name: my_events
  kafka: {topic: my-events, bootstrap_servers: "{{ env.KAFKA_BOOTSTRAP_SERVERS }}"}
  lake: {catalog: "sqlite:lake/catalog.sqlite", data_path: lake/data, table: my_events}
```

- Several pipelines: several documents (`---`) in one file, or several folders.
- `{{ env.NAME }}` reads an environment variable, `{{ env('NAME', 'default') }}` one that may be missing. A `.env` file
  in the project's folder counts as environment, for `dagster` and for `arrow-ingest` alike.
- A *size* is a number of bytes or text with a unit: `128MiB`, `1GB`.
- `arrow-ingest schema` prints a JSON schema of the document; with
  `# yaml-language-server: $schema=…` in the first line, editors complete and check the keys.
- A wrong setting is refused with file, line and key before anything runs.
- `name`, `kafka.topic`, `lake.table` and `partition_by` cannot change once the lake holds data.
"""

_NAMES = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "`true` or `false`",
    "null": "none",
}
_BOUNDS = {"minimum": "≥ {}", "exclusiveMinimum": "> {}", "maximum": "≤ {}", "exclusiveMaximum": "< {}"}


_MODELS_HEAD = """\
# SQL models

A model is a YAML document too, of a pipeline of the same project; [models.md](models.md) says what it does.

```yaml
type: arrow_ingest.SqlModel
attributes:
  name: events_daily
  pipeline: my_events
  partition_by: {column: day}
  sql: |
    SELECT CAST(timestamp AS DATE) AS day, event, count(*) AS events FROM my_events
    WHERE timestamp >= $start AND timestamp < $stop GROUP BY ALL
```
"""


def configuration_page() -> str:
    """The whole page, Markdown."""
    pipelines = _sections(model_settings(PipelineConfig), "attributes")
    models = _sections(model_settings(ModelConfig), "attributes of a model", within="model.")
    return "\n".join([_HEAD, *pipelines, _MODELS_HEAD, *models]).rstrip() + "\n"


def _sections(models: Sequence[Settings], title: str, within: str = "") -> Iterator[str]:
    """A section per model: that of the first one under ``title``, others under their keys, which begin ``within``."""
    titles = {name: f"{within}{path}" for name, path in _titles(models)}
    return (_section(model, titles, title) for model in models)


def type_text(schema: Mapping[str, Any], titles: Mapping[str, str]) -> str:
    """What a value may be, for people.

    Args:
        titles: class name of each nested model to the title of its section.

    >>> type_text({"enum": ["a", "b"]}, {}), type_text({"type": "integer", "exclusiveMinimum": 0}, {})
    ('`a`, `b`', 'whole number > 0')
    """
    if (model := referred_to(schema)) is not None:
        return f"[{titles[model]}](#{titles[model].replace('.', '')})"
    if is_size(schema):
        return f"size ≥ {size_text(schema.get('ge', 1))}"
    if "anyOf" in schema:
        return " or ".join(type_text(option, titles) for option in schema["anyOf"])
    if options := schema.get("enum") or ([schema["const"]] if "const" in schema else None):
        return ", ".join(f"`{option}`" for option in options)
    if schema.get("type") == "array":
        return f"list of {type_text(schema['items'], titles)}"
    if isinstance(inner := schema.get("additionalProperties"), dict):
        return f"mapping of name to {type_text(inner, titles)}"
    if schema.get("format") == "date-time":
        return "ISO time with zone"
    return str(schema.get("format", "")) or _NAMES.get(schema.get("type", ""), "any") + _bounds(schema)


def _titles(models: Iterable[Settings]) -> Iterator[tuple[str, str]]:
    """Class name of each nested model to the key that holds it, dotted below the first level."""
    paths: dict[str, str] = {}
    for model in models:
        for setting in model.settings:
            for option in (setting.schema, *setting.schema.get("anyOf", ()), setting.schema.get("items", {})):
                if (name := referred_to(option)) is not None and name not in paths:
                    paths[name] = ".".join(part for part in (paths.get(model.name), setting.key) if part)
    yield from paths.items()


def _section(model: Settings, titles: Mapping[str, str], title: str) -> str:
    head = f"## {titles[model.name]}\n\n{model.description}\n" if model.name in titles else f"## {title}\n"
    rows = [_row(setting, titles) for setting in model.settings]
    return "\n".join([head, "| setting | type | default | meaning |", "|---|---|---|---|", *rows, ""])


def _row(setting: Setting, titles: Mapping[str, str]) -> str:
    cells = (f"`{setting.key}`", type_text(setting.schema, titles), _default_text(setting), setting.description)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _default_text(setting: Setting) -> str:
    if setting.is_required:
        return "**required**"
    if referred_to(setting.schema) is not None:
        return "see there"
    if isinstance(setting.default, list):
        return ", ".join(f"`{item}`" for item in setting.default) or "`[]`"
    if setting.default is None:
        return "none"
    if isinstance(setting.default, float):
        return f"`{setting.default:g}`"
    return f"`{setting.default if isinstance(setting.default, str) else json.dumps(setting.default)}`"


def _bounds(schema: Mapping[str, Any]) -> str:
    """The range of a number, with a leading space; empty when there is none.

    >>> _bounds({"minimum": 0, "maximum": 1})
    ' ≥ 0, ≤ 1'
    """
    texts = [text.format(schema[key]) for key, text in _BOUNDS.items() if key in schema]
    return f" {', '.join(texts)}" if texts else ""
