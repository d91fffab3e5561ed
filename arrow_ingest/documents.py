"""One YAML file to its documents, and one document to a pipeline's settings, or to an error with file, line and key.

The rules are those of Dagster's components, without importing dagster: several documents in a file, ``{{ env.NAME }}``
and ``{{ env('NAME', 'default') }}`` as native Jinja templates, dates left as text.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import jinja2
import jinja2.nativetypes
import pydantic
import yaml

from arrow_ingest.config import PipelineConfig
from arrow_ingest.errors import ConfigError
from arrow_ingest.model_settings import ModelConfig
from arrow_ingest.setting import SettingsModel

Settings = TypeVar("Settings", bound=SettingsModel)

COMPONENT_TYPE = re.compile(r"arrow_ingest\.([a-z_]+\.)*KafkaToDuckLake")
"""The type under which a document is ours: the short public name, or any module that the component is found in."""

MODEL_TYPE = re.compile(r"arrow_ingest\.([a-z_]+\.)*SqlModel")
"""The same of a SQL model."""

KeyPath = tuple[str | int, ...]

_TIMESTAMP_TAG = "tag:yaml.org,2002:timestamp"


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a YAML file, its templates not yet resolved.

    Args:
        index: 0-based place in the file; Dagster's instance key of the component.
        type: the component's type, empty when the document names none.
        attributes: what stands under ``attributes``, as written.
        lines: 1-based line of every key of the document by its path, such as ``("attributes", "kafka", "topic")``.
    """

    file: Path
    index: int
    type: str
    attributes: object
    lines: Mapping[KeyPath, int]

    @property
    def is_pipeline(self) -> bool:
        """Whether the document declares one of our pipelines."""
        return COMPONENT_TYPE.fullmatch(self.type) is not None

    @property
    def is_model(self) -> bool:
        """Whether the document declares one of our SQL models."""
        return MODEL_TYPE.fullmatch(self.type) is not None

    def error(self, message: str, path: KeyPath = ()) -> ConfigError:
        """What to raise for the setting at ``path`` below ``attributes``."""
        key = ".".join(str(part) for part in path)
        return ConfigError(message, file=str(self.file), line=self.line(path), key=key or None)

    def written_part(self, path: KeyPath) -> KeyPath:
        """The longest beginning of ``path`` (below ``attributes``) that stands in the file."""
        stop = next(n for n in range(len(path), -1, -1) if n == 0 or ("attributes", *path[:n]) in self.lines)
        return path[:stop]

    def line(self, path: KeyPath) -> int:
        """The 1-based line of ``path`` below ``attributes``, or of its nearest parent that stands in the file."""
        return self.lines.get(("attributes", *self.written_part(path)), self.lines[()])


class _Loader(yaml.SafeLoader):
    """Dates stay text, as Dagster leaves them; the model turns them into dates."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own class attribute, replaced by a filtered copy
        first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP_TAG]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def load_documents(file: Path) -> tuple[Document, ...]:
    """Every document of a YAML file, in order.

    Raises:
        ConfigError: the file cannot be read, or is not YAML.
    """
    try:
        loader = _Loader(file.read_text(encoding="utf-8"))
        return tuple(_document(file, index, node, loader) for index, node in enumerate(_nodes(loader)))
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", file=str(file)) from error
    except UnicodeDecodeError as error:
        raise ConfigError("is not UTF-8 text", file=str(file)) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else None
        raise ConfigError(f"not YAML: {error.problem or error.context}", file=str(file), line=line) from error
    except yaml.YAMLError as error:
        raise ConfigError(f"not YAML: {error}", file=str(file)) from error


def resolve(document: Document, *, environ: Mapping[str, str], base: Path) -> PipelineConfig:
    """The settings that a document declares: templates filled in, checked, and relative paths made absolute.

    Args:
        environ: what ``{{ env.NAME }}`` reads.
        base: the folder that relative paths of ``lake.catalog`` and ``lake.data_path`` count from.

    Raises:
        ConfigError: a variable that is not set, a template that fails, or settings that the model refuses.
    """
    return _anchored(_validated(document, PipelineConfig, environ=environ, base=base), base)


def resolve_model(document: Document, *, environ: Mapping[str, str], base: Path) -> ModelConfig:
    """The settings of the SQL model that a document declares.

    Raises:
        ConfigError: as :func:`resolve`.
    """
    return _validated(document, ModelConfig, environ=environ, base=base)


def _validated(document: Document, model: type[Settings], *, environ: Mapping[str, str], base: Path) -> Settings:
    if not isinstance(document.attributes, dict):
        raise document.error("attributes must be a mapping of settings")
    scope = {"env": _EnvironmentScope(environ), "context": _ProjectScope(str(base))}
    attributes = _rendered(document, document.attributes, (), scope)
    try:
        return model.model_validate(attributes)
    except pydantic.ValidationError as error:
        raise _explained(document, error) from error


def _nodes(loader: _Loader) -> Iterator[yaml.Node]:
    while loader.check_node():
        if (node := loader.get_node()) is not None:
            yield node


def _document(file: Path, index: int, node: yaml.Node, loader: _Loader) -> Document:
    value = loader.construct_document(node)
    content = value if isinstance(value, dict) else {}
    lines = {(): node.start_mark.line + 1, **dict(_lines(node, ()))}
    return Document(
        file=file, index=index, type=str(content.get("type", "")), attributes=content.get("attributes"), lines=lines
    )


def _lines(node: yaml.Node, path: KeyPath) -> Iterator[tuple[KeyPath, int]]:
    """The line of every key (in mappings) and item (in sequences) below a node."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield (*path, key.value), key.start_mark.line + 1
            yield from _lines(value, (*path, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield (*path, index), item.start_mark.line + 1
            yield from _lines(item, (*path, index))


class _Unset(jinja2.Undefined):
    """A variable that is not set: false, so that ``{{ env.A or 'b' }}`` works as in Dagster, and an error as text."""

    __slots__ = ()

    def __str__(self) -> str:
        raise self._undefined_exception(self._undefined_message)


class _EnvironmentScope:
    """``env`` in a template: ``env.NAME``, ``env('NAME')`` and ``env('NAME', 'default')``."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def __call__(self, name: str, default: Any = _Unset) -> Any:
        return self._environ.get(name, _Unset(name=name) if default is _Unset else default)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("jinja"):  # jinja probes what it calls for marker attributes
            raise AttributeError(name)
        return self(name)


@dataclass(frozen=True, slots=True)
class _ProjectScope:
    """``context`` in a template; of Dagster's, what a pipeline's settings can use."""

    project_root: str


def _rendered(document: Document, value: Any, path: KeyPath, scope: Mapping[str, object]) -> Any:
    """``value`` with every template in it filled in."""
    if isinstance(value, dict):
        return {key: _rendered(document, item, (*path, key), scope) for key, item in value.items()}
    if isinstance(value, list):
        return [_rendered(document, item, (*path, index), scope) for index, item in enumerate(value)]
    if isinstance(value, str) and ("{{" in value or "{%" in value):
        return _filled_in(document, value, path, scope)
    return value


def _filled_in(document: Document, text: str, path: KeyPath, scope: Mapping[str, object]) -> Any:
    """One template's value: a list, a mapping, a truth value or None as such, anything else as text.

    Dagster's native templates turn every text that reads like Python into a value, so that the password ``1e3``
    arrives as 1000.0. Numbers and quoted text stay as they were written here; the model makes numbers of them.
    """
    try:
        value = jinja2.nativetypes.NativeTemplate(text).render(scope)
        if isinstance(value, jinja2.Undefined):
            str(value)  # raises UndefinedError with the name
        is_text = isinstance(value, str | int | float | complex | bytes) and not isinstance(value, bool)
        return jinja2.Template(text).render(scope) if is_text else value
    except jinja2.UndefinedError as error:
        raise document.error(_undefined(text, error, scope), path) from error
    except (jinja2.TemplateError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise document.error(f"the template {text!r} fails: {error}", path) from error


def _undefined(text: str, error: jinja2.UndefinedError, scope: Mapping[str, object]) -> str:
    name = (error.message or "").partition("'")[2].partition("'")[0]
    if re.search(rf"env(\.{re.escape(name)}\b|\(\s*['\"]{re.escape(name)}['\"])", text):
        return (
            f"the environment variable {name} is not set: set it, or give a default as {{{{ env('{name}', '...') }}}}"
        )
    return f"the template {text!r} fails: {error.message} (a template can use {' and '.join(sorted(scope))})"


def _explained(document: Document, error: pydantic.ValidationError) -> ConfigError:
    """The first key that the model refuses, in the file's order, with everything said about it."""
    problems: dict[KeyPath, list[str]] = {}
    for detail in error.errors(include_url=False, include_input=False, include_context=False):
        path = detail["loc"] if detail["type"] == "missing" else document.written_part(detail["loc"])
        problems.setdefault(path, []).append(_said(detail["type"], detail["msg"]))
    path = min(problems, key=document.line)
    others = len(problems) - 1
    more = f" (and {others} more {'setting is' if others == 1 else 'settings are'} wrong)" if others else ""
    return document.error("; ".join(dict.fromkeys(problems[path])) + more, path)


def _said(kind: str, message: str) -> str:
    """A sentence of pydantic's in our words.

    >>> _said("value_error", "Value error, a time needs a zone")
    'a time needs a zone'
    """
    ours = {"extra_forbidden": "there is no such setting", "missing": "this setting is required"}
    return ours.get(kind, message.removeprefix("Value error, "))


def _anchored(config: PipelineConfig, base: Path) -> PipelineConfig:
    lake = config.lake
    anchored = {"catalog": anchored_catalog(lake.catalog, base), "data_path": anchored_path(lake.data_path, base)}
    return config.model_copy(update={"lake": lake.model_copy(update=anchored)})


def anchored_path(path: str, base: Path) -> str:
    """A path made absolute; URLs stay as they are.

    >>> anchored_path("data", Path("/project")), anchored_path("s3://bucket/data", Path("/project"))
    ('/project/data', 's3://bucket/data')
    """
    return path if "://" in path else str(base / Path(path).expanduser())


def anchored_catalog(catalog: str, base: Path) -> str:
    """A catalog's address with its path made absolute; catalogs that are not files stay as they are.

    >>> anchored_catalog("sqlite:lake.sqlite", Path("/project")), anchored_catalog("lake.sqlite", Path("/project"))
    ('sqlite:/project/lake.sqlite', 'sqlite:/project/lake.sqlite')
    >>> anchored_catalog("postgres:dbname=lake", Path("/project"))
    'postgres:dbname=lake'
    """
    kind, colon, path = catalog.partition(":")
    if not colon or "/" in kind:
        kind, path = "sqlite", catalog
    return f"sqlite:{anchored_path(path, base)}" if kind == "sqlite" else catalog
