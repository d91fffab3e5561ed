"""Module sources in, breaches of the layout out: who may import whom, and what stands in one place only.

Imports are read from the syntax tree, also those inside functions; nothing is imported.
"""

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

PACKAGE = "arrow_ingest"
MAX_LINES = 400

BASE = frozenset(
    {
        "errors",
        "values",
        "config",
        "table_shape",
        "lake_address",
        "message_policy",
        "maintenance_settings",
        "model_settings",
        "alert_settings",
        "environment",
        "privacy",
        "log_lines",
    }
)
ROOMS = BASE | {"kafka", "ipc", "lake"}

MAY_IMPORT: Mapping[str, frozenset[str]] = {
    "errors": frozenset(),
    "values": frozenset({"errors"}),
    "setting": frozenset(),
    "table_shape": frozenset({"setting"}),
    "lake_address": frozenset({"setting"}),
    "message_policy": frozenset({"setting", "table_shape"}),
    "maintenance_settings": frozenset({"setting"}),
    "alert_settings": frozenset({"setting", "environment"}),
    "config": frozenset(
        {
            "errors",
            "values",
            "setting",
            "table_shape",
            "lake_address",
            "message_policy",
            "maintenance_settings",
            "alert_settings",
        }
    ),
    "model_settings": frozenset({"config", "setting", "table_shape"}),
    "environment": frozenset({"errors"}),
    "privacy": frozenset(),
    "log_lines": frozenset(),
    "kafka": BASE,
    "ipc": BASE,
    "lake": BASE,
    "pipeline": ROOMS,
    "exporter": ROOMS | {"pipeline"},
    "producer": frozenset({"errors", "values"}),
    "alerts": BASE,
    "documents": BASE | {"setting"},
    "project": BASE | {"documents"},
    "components": ROOMS | {"pipeline", "project", "documents", "alerts"},
    "definitions": BASE | {"components", "project"},
    "reference": BASE | {"ipc", "lake"},
    "scaffold": BASE | {"reference"},
    "cli": ROOMS | {"pipeline", "producer", "project", "alerts", "reference", "scaffold", "exporter"},
    # Child processes; nothing of ours is known here.
    "stack": frozenset({"errors", "environment"}),
    # On top of all. The command line finds it by name, so that no other command loads Dagster.
    "demo": ROOMS | {"pipeline", "producer", "project", "components", "cli", "stack"},
    "__main__": frozenset({"cli"}),
    # The package itself offers the public names lazily, and its version to everybody.
    "": frozenset({"producer", "components", "config", "environment"}),
}
"""Which rooms a room may import; a room is the first name below the package, and may always import itself."""

OWNERS: Mapping[str, frozenset[str]] = {
    "duckdb": frozenset({"lake"}),
    "duckdb_extensions": frozenset({"lake"}),
    "dagster": frozenset({"components", "definitions", "demo"}),
    "apprise": frozenset({"alerts"}),
    "prometheus_client": frozenset({"exporter"}),
}
"""Which rooms may import a library at all; a library's plug-ins (``dagster_x``) count as the library."""

ENVIRONMENT_READS = frozenset({"environ", "environb", "getenv", "putenv"})


@dataclass(frozen=True, slots=True)
class Import:
    """One imported module, at a line; `lazy` when it stands in a function or counts for type checkers only."""

    name: str
    line: int
    lazy: bool


def sources_below(root: Path) -> dict[str, str]:
    """The source of every module of the package at ``root``, by dotted name."""
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text(encoding="utf-8")
    return found


def room_of(module: str) -> str:
    """The room a module belongs to.

    >>> room_of("arrow_ingest.lake.commit"), room_of("arrow_ingest")
    ('lake', '')
    """
    return module.removeprefix(PACKAGE).lstrip(".").partition(".")[0]


def breaches(sources: Mapping[str, str]) -> list[str]:
    """Every breach of the layout, as sentences that name the module, the line and the rule."""
    trees = {module: ast.parse(source, module) for module, source in sources.items()}
    imports = {module: tuple(imports_of(tree, sources)) for module, tree in trees.items()}
    found = [breach for module, named in imports.items() for breach in _import_breaches(module, named)]
    found += [breach for module, tree in trees.items() for breach in _environment_breaches(module, tree)]
    found += [breach for module, source in sources.items() for breach in _shape_breaches(module, source)]
    return found + _cycles(imports)


def imports_of(tree: ast.Module, modules: Iterable[str]) -> Iterator[Import]:
    """What a module imports; ``from package import module`` counts as the module, when there is one in ``modules``.

    >>> [i.name for i in imports_of(ast.parse("from a import b, c"), {"a", "a.b"})]
    ['a.b', 'a']
    """
    known = set(modules)
    for node, lazy in _walk(tree, lazy=False):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno, lazy)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield Import(inner if inner in known else node.module, node.lineno, lazy)


def _walk(node: ast.AST, *, lazy: bool) -> Iterator[tuple[ast.AST, bool]]:
    for child in ast.iter_child_nodes(node):
        deferred = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        typing_only = isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING")
        yield child, lazy
        yield from _walk(child, lazy=lazy or deferred or typing_only)


def _import_breaches(module: str, imports: Iterable[Import]) -> Iterator[str]:
    room = room_of(module)
    if room not in MAY_IMPORT:
        yield f"{module}: the room {room!r} has no place in the layers yet; give it one in MAY_IMPORT"
        return
    for imported in imports:
        at = f"{module}:{imported.line}"
        library = imported.name.partition(".")[0]
        owner = next((name for name in OWNERS if library == name or library.startswith(f"{name}_")), None)
        if library == PACKAGE and room_of(imported.name) not in MAY_IMPORT[room] | {room, ""}:
            yield f"{at}: {room or PACKAGE} may not import {imported.name}"
        elif owner is not None and room not in OWNERS[owner]:
            yield f"{at}: only {', '.join(sorted(OWNERS[owner]))} may import {library}"


def _environment_breaches(module: str, tree: ast.Module) -> Iterator[str]:
    if room_of(module) == "environment":
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "os":
            names = {node.attr}
        elif isinstance(node, ast.ImportFrom) and node.module == "os":
            names = {alias.name for alias in node.names}
        else:
            continue
        if ENVIRONMENT_READS & names:
            yield f"{module}:{node.lineno}: the environment is read in {PACKAGE}.environment only"


def _shape_breaches(module: str, source: str) -> Iterator[str]:
    if (lines := len(source.splitlines())) > MAX_LINES:
        yield f"{module}: {lines} lines, more than {MAX_LINES}"
    if room_of(module) in OWNERS["dagster"] and "from __future__ import annotations" in source:
        yield f"{module}: Dagster reads the real types at definition time, so annotations cannot be deferred"
    if room_of(module) == "defs" and source.strip():
        yield f"{module}: Dagster loads every module below defs/ as definitions, so it holds YAML only"


def _cycles(imports: Mapping[str, Iterable[Import]]) -> list[str]:
    """The first cycle of imports that run when modules load, if there is one."""
    graph = {
        module: {i.name for i in named if not i.lazy and i.name in imports and i.name != module}
        for module, named in imports.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return [f"import cycle: {' <- '.join(error.args[1])}"]
    return []
