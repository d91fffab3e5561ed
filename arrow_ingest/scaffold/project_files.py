"""A project's name and folder in, its files on disk out.

Templates end in ``.jinja``, so that no tool takes them for code. Their own marks are ``<<`` and ``>>``: the pipeline's
YAML is full of ``{{ … }}`` that must arrive as written.
"""

import importlib.util
import json
import keyword
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import jinja2

from arrow_ingest import __version__
from arrow_ingest.errors import ConfigError
from arrow_ingest.reference.json_schema import document_schema

NAME = re.compile(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*")
MAX_NAME_LENGTH = 48
"""The longest name that a pipeline may have."""

TEMPLATES: Mapping[str, str] = {
    ".env.example": "env_example",
    ".gitignore": "gitignore",
    "README.md": "readme",
    "pyproject.toml": "pyproject",
    "workspace.yaml": "workspace",
    "src/{package}/__init__.py": "package",
    "src/{package}/definitions.py": "definitions",
    "src/{package}/defs/__init__.py": "defs_package",
    "src/{package}/defs/{package}/defs.yaml": "defs",
    "tests/test_definitions.py": "test_definitions",
}
"""File of the project to its template. The layout is the one of Dagster's own `create-dagster project`."""

SCHEMA_FILE = "arrow_ingest.schema.json"
"""What the YAML's first line points editors at."""

DAGSTER_YAML = ".dagster/dagster.yaml"
"""Settings of a Dagster instance on one machine; the folder is the project's DAGSTER_HOME."""


@dataclass(frozen=True, slots=True)
class ProjectName:
    """A name that can be folder, distribution, package, pipeline and table at once."""

    text: str

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.text) or len(self.text) > MAX_NAME_LENGTH:
            raise ConfigError(
                f"{self.text!r} cannot name a project: use small letters and digits in words joined by - or _, a "
                f"letter first, at most {MAX_NAME_LENGTH} characters, such as my-events"
            )
        if is_taken(self.package):
            raise ConfigError(
                f"{self.text!r} cannot name a project: Python already has {self.package!r}, which the project's "
                f"package would hide; try {self.text}-events"
            )

    @property
    def package(self) -> str:
        """The name as Python and SQL spell it.

        >>> ProjectName("my-events").package
        'my_events'
        """
        return self.text.replace("-", "_")


def is_taken(package: str) -> bool:
    """Whether a top-level package of this name would hide another one, or cannot be imported at all.

    >>> is_taken("json"), is_taken("class"), is_taken("dagster"), is_taken("my_events")
    (True, True, True, False)
    """
    if keyword.iskeyword(package) or package in sys.stdlib_module_names or package == "tests":
        return True
    found = importlib.util.find_spec(package)
    return found is not None and found.origin is not None  # a folder without code hides nothing


def write_project(folder: Path, *, first_day: str) -> tuple[Path, ...]:
    """Make ``folder`` a project of the same name; returns the files in the order in which to read them.

    Args:
        first_day: ISO date from which on Dagster knows the table's partitions.

    Raises:
        ConfigError: the name cannot be used, or the folder holds something, or cannot be written.
    """
    name = ProjectName(folder.name)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} is there already and not an empty folder: choose another name, or move it away")
    contents = project_files(name, first_day=first_day)
    try:
        for path, text in contents.items():
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written: {error.strerror}") from error
    return tuple(folder / path for path in contents)


def project_files(name: ProjectName, *, first_day: str) -> dict[str, str]:
    """Every file of the project: its path below the project's folder, and its text."""
    values = {
        "name": name.text,
        "package": name.package,
        "version": __version__,
        "first_day": first_day,
        "schema_file": SCHEMA_FILE,
    }
    written = {path.format(package=name.package): _filled_in(template, values) for path, template in TEMPLATES.items()}
    return written | {
        DAGSTER_YAML: resources.files("arrow_ingest.demo").joinpath("dagster.yaml").read_text(encoding="utf-8"),
        SCHEMA_FILE: json.dumps(document_schema(), indent=2, ensure_ascii=False) + "\n",
    }


def _filled_in(template: str, values: Mapping[str, str]) -> str:
    file = resources.files("arrow_ingest.scaffold").joinpath("templates", f"{template}.jinja")
    marks = jinja2.Environment(  # noqa: S701 - writes code and text, not HTML
        variable_start_string="<<",
        variable_end_string=">>",
        block_start_string="<%",
        block_end_string="%>",
        comment_start_string="<#",
        comment_end_string="#>",
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    return marks.from_string(file.read_text(encoding="utf-8")).render(values)
