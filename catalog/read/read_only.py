"""A check that SQL only reads: every node of DuckDB's own syntax tree must be known to be harmless.

The check walks the tree, never the text. A node that is on no list is refused, so additions of a new
version of DuckDB are refused until somebody has examined them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from difflib import get_close_matches
from string import ascii_lowercase, ascii_uppercase
from typing import Any

import duckdb

from catalog.read.functions import EXPRESSIONS, RELATIONS, TABLES, FunctionNames, names_of
from catalog.read.macros import is_macro
from catalog.read.pivots import PIVOT_HINT, with_columns
from catalog.read.statement_limits import refuse_oversized
from catalog.read.view_columns import view_columns
from survey.errors import UsageError

SqlNode = dict[str, Any]  # Any: JSON
_VIEWS = frozenset({*view_columns(), "measured_rows"})
# As DuckDB compares names: str.lower() would turn the kelvin sign into a k.
_LOWER = str.maketrans(ascii_uppercase, ascii_lowercase)
# Expressions have the key `class`, all other nodes `type`.
_CLASSES = frozenset(
    "BETWEEN CASE CAST COLLATE COLUMN_REF COMPARISON CONJUNCTION CONSTANT DEFAULT FUNCTION LAMBDA "
    "LAMBDA_REF OPERATOR PARAMETER POSITIONAL_REFERENCE STAR SUBQUERY TYPE WINDOW".split()
)
_TYPES = frozenset(
    # queries, tables, and their modifiers
    "SELECT_NODE SET_OPERATION_NODE RECURSIVE_CTE_NODE CTE_NODE "
    "BASE_TABLE EMPTY EMPTY_FROM EXPRESSION_LIST JOIN PIVOT SHOW_REF SUBQUERY TABLE_FUNCTION "
    "DISTINCT_MODIFIER LIMIT_MODIFIER LIMIT_PERCENT_MODIFIER ORDER_MODIFIER "
    "ASCENDING DESCENDING ORDER_DEFAULT".split()
)
# Of each kind of node, as many as DuckDB binds in seconds: its planner takes their square.
_MOST = {"JOIN": (200, "JOINs"), "SELECT_NODE": (2_000, "SELECTs")}
# To make one of a JSON text that is nested a million deep ends the process.
_TYPES_REFUSED = frozenset({"variant"})
_SHOWN = frozenset({'"tables"', "tables", "__show_tables_expanded"})


def refuse_writes(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Raises UsageError if it is not one statement, does not parse, or might do more than read."""
    refuse_oversized(sql)
    try:
        kind = _kind(connection, sql)
        if kind == duckdb.StatementType.MULTI:  # a PIVOT that names no columns, or COPY of one
            sql = with_columns(sql)
            kind = _kind_with_columns(connection, sql)
        if kind != duckdb.StatementType.SELECT:
            raise UsageError(f"{kind.name} is not allowed: a catalog is only read; write a SELECT")
        _refuse_unknown(_tree(connection, sql))
    except duckdb.Error as error:
        raise UsageError(str(error).strip()) from error
    except RecursionError:
        raise UsageError("the statement is nested too deeply") from None


def looks_for_columns(connection: duckdb.DuckDBPyConnection, sql: str) -> bool:
    """Whether a statement must run before its columns are known: a PIVOT that names none."""
    return _kind(connection, sql) == duckdb.StatementType.MULTI


def _kind(connection: duckdb.DuckDBPyConnection, sql: str) -> duckdb.StatementType:
    statements = connection.extract_statements(sql)
    if len(statements) != 1:
        raise UsageError(f"expected one SQL statement, found {len(statements)}")
    try:
        return statements[0].type
    except ValueError:  # DuckDB's parser knows kinds that its Python does not, such as UPDATE EXTENSIONS
        raise UsageError("such a statement is not allowed: a catalog is only read; write a SELECT") from None


def _kind_with_columns(connection: duckdb.DuckDBPyConnection, sql: str) -> duckdb.StatementType:
    """The kind of a PIVOT with named columns. Raises UsageError if it has none that is certain."""
    try:
        kind = _kind(connection, sql)
    except duckdb.Error:
        raise UsageError(f"what follows ON {PIVOT_HINT}") from None
    if kind == duckdb.StatementType.MULTI:
        raise UsageError(f"what follows ON {PIVOT_HINT}")
    return kind


def _tree(connection: duckdb.DuckDBPyConnection, sql: str) -> SqlNode:
    """The syntax tree of a statement, which is neither bound nor run."""
    [(text,)] = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [sql]).fetchall()
    tree: SqlNode = json.loads(text)
    if tree.get("error", True) or len(tree["statements"]) != 1:
        problem = tree.get("error_message", "it cannot be looked at")
        raise UsageError(f"{problem}: only a SELECT that can be looked at is run")
    return tree


@dataclass(frozen=True, slots=True)
class _Scope:
    """The tables of WITH that a node may name. recurring: those it may also name as `recurring.NAME`."""

    tables: frozenset[str] = frozenset()
    recurring: frozenset[str] = frozenset()

    def holds(self, path: list[str]) -> bool:
        return path[0] in self.tables if len(path) == 1 else self._holds_recurring(path)

    def _holds_recurring(self, path: list[str]) -> bool:
        return len(path) == 2 and path[0] == "recurring" and path[1] in self.recurring


def _refuse_unknown(tree: SqlNode) -> None:
    waiting: list[tuple[Any, _Scope]] = [(tree, _Scope())]
    counts: Counter[str] = Counter()
    while waiting:
        node, scope = waiting.pop()
        if isinstance(node, list):
            waiting += [(item, scope) for item in node]
        elif isinstance(node, dict):
            waiting += _children(node, scope)
            kind = node.get("type")  # of some nodes a type's whole description
            if isinstance(kind, str) and kind in _MOST:
                counts[kind] += 1
    for kind, (most, called) in _MOST.items():
        if counts[kind] > most:
            raise UsageError(f"the statement has {counts[kind]:,} {called}, expected {most:,} or fewer")


def _children(node: SqlNode, scope: _Scope) -> Iterator[tuple[Any, _Scope]]:
    """The children of a node, which itself must be known; each with the tables that it may name."""
    kind, name = node.get("class"), node.get("type")
    if kind is not None:
        _refuse_unless(kind in _CLASSES, f"{kind} expressions")
        _refuse_unless(kind != "TYPE" or node["type_name"].lower() not in _TYPES_REFUSED, "the type VARIANT")
    elif isinstance(name, str):
        _refuse_unless(name in _TYPES or name.endswith("_TYPE_INFO"), _said(name))
    if "function_name" in node:
        _refuse_function(EXPRESSIONS, node["function_name"])
    if name == "TABLE_FUNCTION":
        _refuse_function(TABLES, node["function"]["function_name"])
        node = {**node, "function": {**node["function"]}}
        del node["function"]["function_name"]
    elif name == "BASE_TABLE":
        _refuse_table(node, scope)
    elif name == "SHOW_REF" and not node.get("query"):
        _refuse_unless(node["table_name"] in {*_SHOWN, *view_columns()}, f"SHOW {node['table_name']}")
    for entry in node.get("cte_map", {}).get("map", []):
        key = entry["key"].translate(_LOWER)
        _refuse_unless(not _is_system(key), f"a table of WITH called {key}, as one of DuckDB's,")
        yield entry["value"], scope
        scope = replace(scope, tables=scope.tables | {key})
    if name == "RECURSIVE_CTE_NODE":  # its first part may not name it
        own = {node["cte_name"].translate(_LOWER)}
        yield node["right"], _Scope(scope.tables | own, scope.recurring | own)
        node = {key: value for key, value in node.items() if key != "right"}
    yield from ((value, scope) for key, value in node.items() if key != "cte_map")


def _refuse_table(node: SqlNode, scope: _Scope) -> None:
    path = [part.translate(_LOWER) for part in node["qualified_name"]["path"]]
    if scope.holds(path):
        return
    path = path[1:] if path[0] == "main" else path
    name = ".".join(path)
    if name in _VIEWS or names_of(RELATIONS).allows(name):
        return
    known = sorted(_VIEWS | scope.tables)
    close = get_close_matches(name, known, n=1)
    meant = f"did you mean {close[0]}?" if close else f"there are {', '.join(view_columns())}"
    raise UsageError(f"no view {node['table_name']!r}; {meant}")


def _is_system(name: str) -> bool:
    """Whether a refused relation has this name in its schema."""
    return any(name == known.rpartition(".")[2] for known in names_of(RELATIONS).refused)


def _refuse_function(section: str, name: str) -> None:
    names: FunctionNames = names_of(section)
    ours = is_macro(name.lower(), of_rows=section == TABLES)
    _refuse_unless(ours or names.allows(name.lower()), f"the function {name}()", name, names.allowed)


def _refuse_unless(known: bool, what: str, name: str = "", others: Iterable[str] = ()) -> None:
    if known:
        return
    close = get_close_matches(name.lower(), others, n=1) if name else []
    meant = f"; did you mean {close[0]}()?" if close else ""
    raise UsageError(f"{what} is not allowed: a catalog is only read{meant}")


def _said(kind: str) -> str:
    return kind.removesuffix("_QUERY_NODE").removesuffix("_NODE").replace("_", " ")
