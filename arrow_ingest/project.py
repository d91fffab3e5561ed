"""A folder to the pipelines that its YAML declares, without importing dagster.

A project is what Dagster calls one: a folder with a ``dg.toml``, or a ``pyproject.toml`` with ``[tool.dg]``, that names
the package whose ``defs`` folder holds the YAML. Relative paths of a lake count from the project's folder, whatever the
current folder is, so that the CLI and Dagster mean the same files. The packaged pipeline outside any project counts
from the current folder.
"""

import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arrow_ingest import environment
from arrow_ingest.config import PipelineConfig
from arrow_ingest.documents import Document, load_documents, resolve, resolve_model
from arrow_ingest.errors import ConfigError
from arrow_ingest.model_settings import SqlModel

PACKAGED_DEFS = Path(__file__).parent / "defs"
"""The YAML that comes with the package: the default pipeline."""

YAML_NAMES = ("defs.yaml", "defs.yml", "component.yaml")
"""The names that Dagster gives a folder's YAML, the first one there counts."""

FOLDER_TYPE = "dagster.DefsFolderComponent"
"""A folder whose YAML is of this type is walked on; below any other YAML there are no components."""


@dataclass(frozen=True, slots=True)
class Project:
    """Where pipelines are declared (``defs``) and what relative paths count from (``folder``)."""

    folder: Path
    defs: Path

    def pipelines(self, environ: Mapping[str, str]) -> tuple[PipelineConfig, ...]:
        """Every pipeline below ``defs``, in the order of the files.

        Raises:
            ConfigError: YAML or settings that cannot be used, or two pipelines of one name or one table.
        """
        found = [
            (document, resolve(document, environ=environ, base=self.folder))
            for file in yaml_files(self.defs)
            for document in load_documents(file)
            if document.is_pipeline
        ]
        refuse_clashes(found)
        return tuple(config for _, config in found)

    def models(self, environ: Mapping[str, str]) -> tuple[SqlModel, ...]:
        """Every SQL model below ``defs``, in the order of the files.

        Raises:
            ConfigError: as `pipelines`; or a model is of no pipeline, or two are of one name or table.
        """
        documents = [document for file in yaml_files(self.defs) for document in load_documents(file)]
        declared = [document for document in documents if document.is_model]
        pipelines = {config.name: config for config in self.pipelines(environ)} if declared else {}
        found = [(document, _model(document, pipelines, environ, self.folder)) for document in declared]
        _refuse_twins(found)
        return tuple(model for _, model in found)


def load_pipelines(project: Path | None = None) -> tuple[PipelineConfig, ...]:
    """The pipelines of ``project``, else of the project that the current folder lies in, else the packaged one.

    Raises:
        ConfigError: no such project, none declared in it, or settings that cannot be used.
    """
    home = locate(project)
    if pipelines := home.pipelines(environment.variables()):
        return pipelines
    raise ConfigError(
        f"no pipeline is declared below {home.defs}: add a folder with a defs.yaml of type arrow_ingest.KafkaToDuckLake"
    )


def load_pipeline(file: Path, index: int = 0) -> PipelineConfig:
    """The pipeline that document ``index`` of ``file`` declares: what Dagster's component asks for.

    Raises:
        ConfigError: as :func:`load_pipelines`, of this document alone.
    """
    return resolve(load_documents(file)[index], environ=environment.variables(), base=folder_of(file))


def load_models(project: Path | None = None) -> tuple[SqlModel, ...]:
    """The SQL models of the project that `load_pipelines` finds; there may be none.

    Raises:
        ConfigError: as `Project.models`.
    """
    return locate(project).models(environment.variables())


def load_model(file: Path, index: int = 0) -> SqlModel:
    """The model that document ``index`` of ``file`` declares, of a pipeline of the same project.

    Raises:
        ConfigError: as `Project.models`, of this document and of all pipelines.
    """
    home = home_of(file)
    environ = environment.variables()
    pipelines = {config.name: config for config in home.pipelines(environ)}
    return _model(load_documents(file)[index], pipelines, environ, home.folder)


def locate(folder: Path | None = None) -> Project:
    """The project in ``folder`` itself; without one, the nearest from the current folder up, else the packaged one.

    Raises:
        ConfigError: ``folder`` is given and is no project, or a project names no package that is there.
    """
    if folder is not None:
        project = project_in(folder.resolve())
        if project is None:
            raise ConfigError(f"{folder} is no project: it has no pyproject.toml with [tool.dg]")
        return project
    here = Path.cwd()
    return nearest(here) or Project(folder=here, defs=PACKAGED_DEFS)


def folder_of(file: Path) -> Path:
    """The folder that relative paths in a YAML file count from."""
    return home_of(file).folder


def home_of(file: Path) -> Project:
    """The project that a YAML file belongs to."""
    packaged = file.resolve().is_relative_to(PACKAGED_DEFS.resolve())
    here = Path.cwd()
    project = nearest(here if packaged else file.resolve().parent)
    return project or Project(folder=here, defs=PACKAGED_DEFS)


def nearest(start: Path) -> Project | None:
    """The project that an absolute path lies in."""
    return next((project for folder in (start, *start.parents) if (project := project_in(folder))), None)


def project_in(folder: Path) -> Project | None:
    """The project whose settings stand in ``folder`` itself.

    Raises:
        ConfigError: the settings are not TOML, or name no package that is there.
    """
    for name, path in (("dg.toml", ("project",)), ("pyproject.toml", ("tool", "dg", "project"))):
        file = folder / name
        settings = _table(file, path[:-1])
        if settings is not None:
            return Project(folder=folder, defs=_defs_folder(file, settings.get("project", {}), ".".join(path)))
    return None


def yaml_files(folder: Path) -> Iterator[Path]:
    """The YAML files of components below a folder, as Dagster walks it: ascending, without hidden folders."""
    file = next((folder / name for name in YAML_NAMES if (folder / name).is_file()), None)
    if file is not None:
        yield file
        if all(document.type != FOLDER_TYPE for document in load_documents(file)):
            return
    for child in sorted(folder.iterdir()):
        if child.is_dir() and not child.name.startswith(".") and child.name != "__pycache__":
            yield from yaml_files(child)


def choose(pipelines: Sequence[PipelineConfig], names: Iterable[str]) -> tuple[PipelineConfig, ...]:
    """The pipelines of these names, in their order; all of them when no name is given.

    Raises:
        ConfigError: there is no pipeline of a name.
    """
    by_name = {config.name: config for config in pipelines}
    wanted = tuple(dict.fromkeys(names))
    if unknown := [name for name in wanted if name not in by_name]:
        raise ConfigError(f"there is no pipeline {unknown[0]!r}, only {', '.join(by_name)}")
    return tuple(by_name[name] for name in wanted) or tuple(pipelines)


def choose_one(pipelines: Sequence[PipelineConfig], name: str | None) -> PipelineConfig:
    """The pipeline of this name; the only one there is when no name is given.

    Raises:
        ConfigError: there is no pipeline of the name, or there are several and none is named.
    """
    chosen = choose(pipelines, [name] if name is not None else [])
    if len(chosen) > 1:
        raise ConfigError(f"which pipeline? Name one of {', '.join(config.name for config in chosen)}")
    return chosen[0]


def refuse_clashes(found: Iterable[tuple[Document, PipelineConfig]]) -> None:
    """Refuse two pipelines of one name, or into one table (names of tables do not differ by case).

    Raises:
        ConfigError: at the later of the two.
    """
    names: dict[str, Document] = {}
    tables: dict[tuple[str, str, str], str] = {}
    for document, config in found:
        lake = config.lake
        table = (lake.catalog, lake.schema_name.lower(), lake.table.lower())
        if other := names.get(config.name):
            where = f"{other.file}:{other.lines[()]}"
            raise document.error(f"{config.name!r} is the name of another pipeline, at {where}", ("name",))
        if table in tables:
            raise document.error(
                f"{lake.schema_name}.{lake.table} is the table of pipeline {tables[table]!r}: one table, one pipeline",
                ("lake", "table"),
            )
        names[config.name] = document
        tables[table] = config.name


def _model(
    document: Document, pipelines: Mapping[str, PipelineConfig], environ: Mapping[str, str], base: Path
) -> SqlModel:
    """A model with its pipeline and its query."""
    config = resolve_model(document, environ=environ, base=base)
    pipeline = pipelines.get(config.pipeline)
    if pipeline is None:
        known = ", ".join(pipelines) or "none at all"
        raise document.error(f"there is no pipeline {config.pipeline!r} in the project, only {known}", ("pipeline",))
    sql = config.sql or ""
    if config.sql_file is not None:
        try:
            sql = (document.file.parent / config.sql_file).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise document.error(f"{config.sql_file} cannot be read: {error}", ("sql_file",)) from error
    try:
        return SqlModel(config, pipeline, sql)
    except ValueError as error:
        key, _, message = str(error).partition(": ")
        raise document.error(message, (key,)) from error


def _refuse_twins(found: Iterable[tuple[Document, SqlModel]]) -> None:
    names: set[str] = set()
    tables: dict[tuple[str, str, str], str] = {}
    for document, model in found:
        lake = model.lake
        table = (lake.catalog, lake.schema_name.lower(), lake.table.lower())
        if model.name in names:
            raise document.error(f"{model.name!r} is the name of another model", ("name",))
        if table in tables:
            raise document.error(f"{lake.schema_name}.{lake.table} is the table of model {tables[table]!r}", ("table",))
        names.add(model.name)
        tables[table] = model.name


def _table(file: Path, path: Sequence[str]) -> Mapping[str, Any] | None:
    """The table at ``path`` of a TOML file; None where there is no file or no such table."""
    if not file.is_file():
        return None
    try:
        table: Any = tomllib.loads(file.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"not TOML: {error}", file=str(file)) from error
    for key in path:
        table = table.get(key) if isinstance(table, dict) else None
    return table if isinstance(table, dict) else None


def _defs_folder(file: Path, settings: Mapping[str, Any], key: str) -> Path:
    """Where a project's YAML lies. The package is not imported: it need not be installed to be drained."""
    root = settings.get("root_module")
    module = settings.get("defs_module") or (f"{root}.defs" if root else None)
    if module is None:
        raise ConfigError("name the package whose defs folder holds the YAML", file=str(file), key=f"{key}.root_module")
    candidates = [file.parent / source / Path(*module.split(".")) for source in ("src", "")]
    if defs := next((folder for folder in candidates if folder.is_dir()), None):
        return defs
    tried = " or ".join(str(folder) for folder in candidates)
    raise ConfigError(f"{module} should be the folder {tried}", file=str(file), key=f"{key}.root_module")
