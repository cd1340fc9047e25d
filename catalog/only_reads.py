"""Which SQL only reads: what DuckDB's own syntax tree holds must be known, and be harmless.

The tree is walked, never the text; and what is on no list is refused, so that what a new version of
DuckDB adds is refused until somebody has looked at it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Any

import duckdb

from catalog.functions import EXPRESSIONS, RELATIONS, TABLES, Names, names_of
from catalog.macros import MACROS
from catalog.pivots import refuse_unknown_words
from catalog.views import view_columns
from survey.errors import UsageError

Node = dict[str, Any]  # Any: JSON
# By the key `class`, the expressions; by `type`, everything else.
_CLASSES = frozenset(
    "BETWEEN CASE CAST COLLATE COLUMN_REF COMPARISON CONJUNCTION CONSTANT DEFAULT FUNCTION LAMBDA "
    "LAMBDA_REF OPERATOR PARAMETER POSITIONAL_REFERENCE STAR SUBQUERY TYPE WINDOW".split()
)
_TYPES = frozenset(
    # queries, tables, and what modifies them
    "SELECT_NODE SET_OPERATION_NODE RECURSIVE_CTE_NODE CTE_NODE "
    "BASE_TABLE EMPTY EMPTY_FROM EXPRESSION_LIST JOIN PIVOT SHOW_REF SUBQUERY TABLE_FUNCTION "
    "DISTINCT_MODIFIER LIMIT_MODIFIER LIMIT_PERCENT_MODIFIER ORDER_MODIFIER "
    "ASCENDING DESCENDING ORDER_DEFAULT".split()
)
_SHOWN = frozenset({'"tables"', "tables", "__show_tables_expanded"})


def refuse_writes(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Raises UsageError where it is not one statement, does not parse, or might do more than read."""
    try:
        statements = connection.extract_statements(sql)
        if len(statements) != 1:
            raise UsageError(f"expected one SQL statement, found {len(statements)}")
        kind = statements[0].type
        if kind == duckdb.StatementType.SELECT:
            _refuse_unknown(_tree(connection, sql))
        elif kind == duckdb.StatementType.MULTI:  # a PIVOT that looks for its columns, and COPY of one
            refuse_unknown_words(sql)
        else:
            raise UsageError(f"{kind.name} is not allowed: a catalog is only read; write a SELECT")
    except duckdb.Error as error:
        raise UsageError(str(error).strip()) from error
    except RecursionError:
        raise UsageError("the statement is nested too deeply") from None


def _tree(connection: duckdb.DuckDBPyConnection, sql: str) -> Node:
    """The statement as DuckDB parses it. Making it runs nothing and binds nothing."""
    [(text,)] = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [sql]).fetchall()
    tree: Node = json.loads(text)
    if tree.get("error", True) or len(tree["statements"]) != 1:
        problem = tree.get("error_message", "it cannot be looked at")
        raise UsageError(f"{problem}: only a SELECT that can be looked at is run")
    return tree


def _refuse_unknown(tree: Node) -> None:
    views = frozenset({*view_columns(), "measured_rows"})
    waiting: list[tuple[Any, frozenset[str]]] = [(tree, views)]
    while waiting:
        node, tables = waiting.pop()
        if isinstance(node, list):
            waiting += [(item, tables) for item in node]
        elif isinstance(node, dict):
            waiting += _looked_at(node, tables)


def _looked_at(node: Node, tables: frozenset[str]) -> Iterator[tuple[Any, frozenset[str]]]:
    """What stands in a node, once the node itself is known; each with the tables that it may name."""
    kind, name = node.get("class"), node.get("type")
    if kind is not None:
        _refuse_unless(kind in _CLASSES, f"{kind} expressions")
    elif isinstance(name, str):
        _refuse_unless(name in _TYPES or name.endswith("_TYPE_INFO"), _said(name))
    if "function_name" in node:
        _refuse_function(EXPRESSIONS, node["function_name"])
    if name == "TABLE_FUNCTION":
        _refuse_function(TABLES, node["function"]["function_name"])
        node = {**node, "function": {**node["function"]}}
        del node["function"]["function_name"]
    elif name == "BASE_TABLE":
        _refuse_table(node, tables)
    elif name == "SHOW_REF" and not node.get("query"):
        _refuse_unless(node["table_name"] in {*_SHOWN, *view_columns()}, f"SHOW {node['table_name']}")
    for entry in node.get("cte_map", {}).get("map", []):
        key, made = entry["key"].lower(), entry["value"]
        recursive = made.get("query_node", {}).get("type") == "RECURSIVE_CTE_NODE"
        yield made, tables | {key} if recursive else tables
        tables |= {key}
    if name == "RECURSIVE_CTE_NODE":
        tables |= {node["cte_name"].lower()}
    yield from ((value, tables) for key, value in node.items() if key != "cte_map")


def _refuse_table(node: Node, tables: frozenset[str]) -> None:
    name, schema = node["table_name"].lower(), node.get("schema_name", "").lower()
    if schema in ("", "main", "recurring") and name in tables:
        return
    if names_of(RELATIONS).allows(f"{schema}.{name}" if schema not in ("", "main") else name):
        return
    close = get_close_matches(name, sorted(tables), n=1)
    meant = f"did you mean {close[0]}?" if close else f"there are {', '.join(view_columns())}"
    raise UsageError(f"no view {node['table_name']!r}; {meant}")


def _refuse_function(section: str, name: str) -> None:
    names: Names = names_of(section)
    ours = name.lower() in MACROS and section == TABLES
    _refuse_unless(ours or names.allows(name.lower()), f"the function {name}()", name, names.allowed)


def _refuse_unless(known: bool, what: str, name: str = "", others: Iterable[str] = ()) -> None:
    if known:
        return
    close = get_close_matches(name.lower(), others, n=1) if name else []
    meant = f"; did you mean {close[0]}()?" if close else ""
    raise UsageError(f"{what} is not allowed: a catalog is only read{meant}")


def _said(kind: str) -> str:
    return kind.removesuffix("_QUERY_NODE").removesuffix("_NODE").replace("_", " ")
