"""The columns that a Parquet footer states, read without a library.

A footer begins with the file's schema, and footers of files of one version begin with the same bytes: of
1,000 footers one is parsed and 999 are compared. Loading pyarrow would take a query a tenth of a second,
and a column that is nested 10,000 deep would break DuckDB, so footers are parsed here first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from catalog.tables.thrift import LISTS, MAX_DEPTH, CompactReader, MalformedFooter, StrangeFooter

# Fields of a SchemaElement, and of the union in its logical type (parquet.thrift).
_TYPE, _NAME, _CHILDREN, _CONVERTED, _LOGICAL = 1, 4, 5, 6, 10
_MAP, _LIST, _TIMESTAMP = 2, 3, 8
_LOCAL_MICROSECONDS: Mapping[int, Any] = {1: False, 2: {2: {}}}  # Any: a thrift field's value
_CONVERTED_MAPS, _CONVERTED_LIST = (1, 2), 3
_LEAVES: Mapping[tuple[int | None, int | None], str] = {
    (0, None): "BOOLEAN",
    (1, None): "INTEGER",
    (1, 17): "INTEGER",
    (2, None): "BIGINT",
    (2, 18): "BIGINT",
    (2, 14): "UBIGINT",
    (2, 10): "TIMESTAMP",
    (4, None): "FLOAT",
    (5, None): "DOUBLE",
    (6, 0): "VARCHAR",
}
# Readers prefer the logical type to the converted one, and it may call text a geometry.
_STRING, _INTEGER = 1, 10
_LOGICAL_LEAVES: Mapping[str, Any] = {
    "VARCHAR": {_STRING: {}},
    "INTEGER": {_INTEGER: {1: 32, 2: True}},
    "BIGINT": {_INTEGER: {1: 64, 2: True}},
    "UBIGINT": {_INTEGER: {1: 64, 2: False}},
}

SchemaNode = Mapping[int, Any]  # Any: a thrift field's value


def schema_of(footer: bytes) -> tuple[dict[str, str], int, int]:
    """Columns with their SQL types, the bytes that the schema takes, and the number of rows.

    Raises MalformedFooter.
    """
    reader = CompactReader(footer)
    nodes = _nodes(reader)
    end = reader.position
    rows = _rows(reader)
    names, position = {}, 1
    for _ in range(_children(nodes[0])):
        name, kind, position = _column(nodes, position, 1)
        if name in names:
            raise StrangeFooter(f"two columns are called {name}")
        names[name] = kind
    if position != len(nodes):
        raise MalformedFooter("the schema's groups do not add up")
    return names, end, rows


def rows_at(footer: bytes, position: int) -> int:
    """The number of rows. position: the end of the schema, which they follow. Raises MalformedFooter."""
    reader = CompactReader(footer)
    reader.position = position
    return _rows(reader)


def _nodes(reader: CompactReader) -> list[SchemaNode]:
    """The nodes of the schema, with which a footer begins; leaves the reader behind them."""
    if reader.byte() != 0x15:  # field 1, an integer: the format's version
        raise MalformedFooter("it does not begin with a version")
    reader.varint()
    if reader.byte() != 0x19:  # field 2, a list
        raise MalformedFooter("no schema follows its version")
    nodes: list[SchemaNode] = reader.value(LISTS[0])
    if not nodes or not all(map(_is_node, nodes)):
        raise MalformedFooter("its schema has no columns")
    return nodes


def _rows(reader: CompactReader) -> int:
    if reader.byte() != 0x16:  # field 3, an integer
        raise MalformedFooter("no number of rows follows its schema")
    return reader.integer()


def _column(nodes: Sequence[SchemaNode], position: int, depth: int) -> tuple[str, str, int]:
    """Name and SQL type of the column that begins at a node, and the index of the node after it."""
    if depth > MAX_DEPTH:
        raise StrangeFooter(f"a column is nested more than {MAX_DEPTH} deep")
    if position >= len(nodes):
        raise MalformedFooter("the schema's groups do not add up")
    node, position = nodes[position], position + 1
    name = node[_NAME].decode("utf-8", "backslashreplace")
    if not (count := _children(node)):
        return name, _leaf(node), position
    children = []
    for _ in range(count):
        child, kind, position = _column(nodes, position, depth + 1)
        children.append((child, kind))
    return name, _group(node, children), position


def _group(node: SchemaNode, children: Sequence[tuple[str, str]]) -> str:
    converted, logical = node.get(_CONVERTED), node.get(_LOGICAL, {})
    if logical.keys() - {_MAP, _LIST}:
        return "GROUP of another kind"
    inner = children[0][1]
    fields = inner.removeprefix("GROUP(").removesuffix(")") if len(children) == 1 else ""
    if (converted == _CONVERTED_LIST or _LIST in logical) and inner.startswith("GROUP("):
        element = fields.partition(" ")[2]
        return f"{_struct(element)}[]"
    if (converted in _CONVERTED_MAPS or _MAP in logical) and inner.startswith("GROUP("):
        key, _, value = fields.removeprefix("key ").partition(", value ")
        return f"MAP({key}, {value})"
    return f"GROUP({', '.join(f'{name} {kind}' for name, kind in children)})"


def _struct(kind: str) -> str:
    return kind.replace("GROUP(", "STRUCT(", 1) if kind.startswith("GROUP(") else kind


def _leaf(node: SchemaNode) -> str:
    physical, converted, logical = node.get(_TYPE), node.get(_CONVERTED), node.get(_LOGICAL, {})
    if physical == 2 and _TIMESTAMP in logical:
        return "TIMESTAMP" if logical[_TIMESTAMP] == _LOCAL_MICROSECONDS else "TIMESTAMP of another kind"
    kind = _LEAVES.get((physical, converted), f"type {physical} {converted}")
    if logical and logical != _LOGICAL_LEAVES.get(kind):
        return f"{kind} of another kind"
    return kind


def _is_node(value: object) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get(_NAME), bytes)
        and isinstance(value.get(_LOGICAL, {}), dict)
        and type(count := value.get(_CHILDREN, 0)) is int
        and count >= 0
        and all(isinstance(value.get(field), int | None) for field in (_TYPE, _CONVERTED))
    )


def _children(node: SchemaNode) -> int:
    count: int = node.get(_CHILDREN, 0)
    return count
