"""A model's query, as DuckDB's parser understands it, to the columns that each of its columns comes from.

What a value is made of counts, not what rows are chosen by: `count(*)` comes from no column. Where the query tells too
little, the YAML's ``lineage`` says it.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from arrow_ingest.lake.session import Lake
from arrow_ingest.lake.sqltypes import fold
from arrow_ingest.model_settings import SqlModel

ColumnLineage = Mapping[str, tuple[str, ...]]
"""Column of the model to columns of the pipeline's table, by name."""

Columns = dict[str, frozenset[str]]
"""Folded name of a column to the columns that it comes from, in the order of the columns."""


_UNNAMED = "\0"
"""Begins the name of a column that the query does not name: they count in subqueries, and by their place."""


@dataclass(frozen=True, slots=True)
class _Scope:
    """What names mean at one place of the query: tables that it may read, and the relations behind its FROM."""

    source: str
    schema: str
    columns: Columns
    ctes: Mapping[str, Columns]
    relations: Mapping[str, Columns]

    def with_relations(self, relations: Mapping[str, Columns]) -> "_Scope":
        return _Scope(self.source, self.schema, self.columns, self.ctes, relations)

    def with_cte(self, name: str, columns: Columns) -> "_Scope":
        return _Scope(self.source, self.schema, self.columns, {**self.ctes, fold(name): columns}, self.relations)


def lineage(lake: Lake, model: SqlModel, source_columns: Iterable[str]) -> ColumnLineage:
    """Where each column of a model comes from; columns that come from none are left out.

    Args:
        source_columns: of the pipeline's table.
    """
    [(serialized,)] = lake.execute("SELECT json_serialize_sql(?)", [model.sql])
    names = list(source_columns)
    place = model.pipeline.lake
    found = columns_of(json.loads(serialized), names, table=place.table, schema=place.schema_name)
    declared = {fold(name): tuple(columns) for name, columns in model.config.lineage.items()}
    return {name: columns for name, columns in {**found, **declared}.items() if columns}


def columns_of(tree: Any, source_columns: Iterable[str], *, table: str, schema: str) -> dict[str, tuple[str, ...]]:
    """The same of a syntax tree as `json_serialize_sql` gives it, before the YAML is asked."""
    spelled = {fold(name): name for name in source_columns}
    of_source = {name: frozenset([name]) for name in spelled}
    scope = _Scope(fold(table), fold(schema), of_source, ctes={}, relations={})
    outputs = _outputs(tree["statements"][0]["node"], scope)
    return {
        name: tuple(column for key, column in spelled.items() if key in keys)
        for name, keys in outputs.items()
        if not name.startswith(_UNNAMED)
    }


def _outputs(node: Any, scope: _Scope) -> Columns:
    """The columns that a query gives."""
    for entry in node.get("cte_map", {}).get("map", ()):
        given = _outputs(entry["value"]["query"]["node"], scope)
        scope = scope.with_cte(entry["key"], _renamed(given, entry["value"].get("aliases", ())))
    if node["type"] != "SELECT_NODE":
        return _united([_outputs(branch, scope) for branch in _branches(node)])
    scope = scope.with_relations(dict(_relations(node.get("from_table"), scope)))
    outputs: Columns = {}
    for expression in node["select_list"]:
        if expression["class"] == "STAR":
            outputs |= _starred(expression, scope)
        else:
            name = expression.get("alias") or (expression.get("column_names") or [f"{_UNNAMED}{len(outputs)}"])[-1]
            outputs[fold(name)] = _origins(expression, scope, outputs)
    return outputs


def _branches(node: Any) -> list[Any]:
    """The queries that a set operation or a recursive query puts together."""
    return [branch for branch in (node.get("left"), node.get("right"), *node.get("children", ())) if branch]


def _united(branches: list[Columns]) -> Columns:
    """Columns are put together by their place, and called as in the first branch."""
    if not branches:
        return {}
    by_place = [list(columns.values()) for columns in branches]
    return {
        name: frozenset().union(*(places[at] for places in by_place if at < len(places)))
        for at, name in enumerate(branches[0])
    }


def _relations(node: Any, scope: _Scope) -> Iterator[tuple[str, Columns]]:
    """What stands behind FROM, by the names that columns are qualified with."""
    if not node:
        return
    alias, renamed = node.get("alias", ""), node.get("column_name_alias", ())
    match node["type"]:
        case "BASE_TABLE":
            name, schema = fold(node["table_name"]), fold(node.get("schema_name", ""))
            columns: Columns = {} if schema else dict(scope.ctes.get(name, {}))
            if not columns and name == scope.source and schema in ("", scope.schema):
                columns = scope.columns
            yield fold(alias) or name, _renamed(columns, renamed)
        case "SUBQUERY":
            yield fold(alias), _renamed(_outputs(node["subquery"]["node"], scope), renamed)
        case "JOIN":
            yield from _relations(node["left"], scope)
            yield from _relations(node["right"], scope)


def _renamed(columns: Columns, names: Iterable[str]) -> Columns:
    new = [fold(name) for name in names]
    return dict(zip([*new, *list(columns)[len(new) :]], columns.values(), strict=True))


def _starred(star: Any, scope: _Scope) -> Columns:
    wanted, left_out = fold(star.get("relation_name", "")), {fold(str(name)) for name in star.get("exclude_list", ())}
    return {
        name: origins
        for relation, columns in scope.relations.items()
        if wanted in ("", relation)
        for name, origins in columns.items()
        if name not in left_out
    }


def _origins(node: Any, scope: _Scope, earlier: Columns) -> frozenset[str]:
    """The columns of the source that an expression is made of.

    Args:
        earlier: columns of the same select list, which DuckDB lets one refer to.
    """
    if isinstance(node, list):
        return frozenset().union(*(_origins(child, scope, earlier) for child in node))
    if not isinstance(node, dict):
        return frozenset()
    if node.get("class") == "COLUMN_REF":
        return _named([fold(name) for name in node["column_names"]], scope, earlier)
    if node.get("class") == "SUBQUERY":
        return frozenset().union(*_outputs(node["subquery"]["node"], scope).values())
    return frozenset().union(*(_origins(child, scope, earlier) for child in node.values()))


def _named(names: list[str], scope: _Scope, earlier: Columns) -> frozenset[str]:
    """What ``column``, ``relation.column`` or ``column.field`` is made of."""
    if len(names) > 1 and names[-2] in scope.relations:
        return scope.relations[names[-2]].get(names[-1], frozenset())
    if len(names) > 1 and names[0] in scope.relations:
        return scope.relations[names[0]].get(names[1], frozenset())
    found = [columns[names[0]] for columns in scope.relations.values() if names[0] in columns]
    return frozenset().union(*found) if found else earlier.get(names[0], frozenset())
