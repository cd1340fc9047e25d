"""What a Parquet footer says of its columns, read without a library.

A footer begins with the file's schema, and files of one version begin with the same bytes: of 1,000
footers one is parsed and 999 are compared. To load pyarrow would take a question a tenth of a second,
and a column that is nested 10,000 deep would break DuckDB, so this looks first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

MAX_DEPTH = 12  # of groups; ours are 5 deep
MAX_NODES = 10_000
MAX_VALUES = 20 * MAX_NODES  # a node has some ten
_TRUE, _FALSE, _BYTE, _INTEGERS, _DOUBLE, _BINARY, _LISTS, _STRUCT = 1, 2, 3, (4, 5, 6), 7, 8, (9, 10), 12
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
# Readers believe the logical type more than the converted one: text may be called a geometry.
_STRING, _INTEGER = 1, 10
_LOGICAL_LEAVES: Mapping[str, Any] = {
    "VARCHAR": {_STRING: {}},
    "INTEGER": {_INTEGER: {1: 32, 2: True}},
    "BIGINT": {_INTEGER: {1: 64, 2: True}},
    "UBIGINT": {_INTEGER: {1: 64, 2: False}},
}

SchemaNode = Mapping[int, Any]  # Any: a thrift field's value


class MalformedFooter(Exception):
    """The bytes are no Parquet footer, or one that is nested too deep."""


class StrangeFooter(MalformedFooter):
    """A footer, of a file that cannot be ours."""


class CutFooter(MalformedFooter):
    """There are too few bytes for the whole schema."""


def schema_of(footer: bytes) -> tuple[dict[str, str], int, int]:
    """Columns with their SQL types, the bytes that the schema takes, and the number of rows.

    Raises MalformedFooter.
    """
    reader = _Thrift(footer)
    nodes = reader.schema()
    end = reader.position
    rows = reader.rows()
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
    """The number of rows, which stands behind the schema. Raises MalformedFooter."""
    reader = _Thrift(footer)
    reader.position = position
    return reader.rows()


def _column(nodes: Sequence[SchemaNode], position: int, depth: int) -> tuple[str, str, int]:
    """Name and SQL type of the column that begins at a node, and where the next one begins."""
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


class _Thrift:
    """The compact protocol, as far as a schema needs it. Each value takes a byte or more."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._values = 0
        self.position = 0

    def schema(self) -> list[SchemaNode]:
        """The schema's nodes; stands behind them then."""
        if self._byte() != 0x15:  # field 1, an integer: the format's version
            raise MalformedFooter("it does not begin with a version")
        self._varint()
        if self._byte() != 0x19:  # field 2, a list
            raise MalformedFooter("no schema follows its version")
        nodes = self._value(_LISTS[0], 0)
        if not nodes or not all(map(_is_node, nodes)):
            raise MalformedFooter("its schema has no columns")
        return nodes  # type: ignore[no-any-return]  # a list of structs

    def rows(self) -> int:
        if self._byte() != 0x16:  # field 3, an integer
            raise MalformedFooter("no number of rows follows its schema")
        return self._integer()

    def _byte(self) -> int:
        try:
            value = self._content[self.position]
        except IndexError:
            raise CutFooter("it ends in its schema") from None
        self.position += 1
        return value

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
            if shift > 63:
                raise MalformedFooter("a number of it is too long")

    def _integer(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)

    def _binary(self) -> bytes:
        length = self._varint()
        content = self._content[self.position : self.position + length]
        if len(content) != length:
            raise CutFooter("it ends in its schema")
        self.position += length
        return content

    def _value(self, kind: int, depth: int) -> Any:  # Any: by the kind of field
        if depth > MAX_DEPTH:
            raise StrangeFooter("it is nested too deep")
        self._values += 1
        if self._values > MAX_VALUES:
            raise StrangeFooter(f"its schema has more than {MAX_VALUES} values")
        if kind in (_TRUE, _FALSE):
            return kind == _TRUE
        if kind == _BYTE:
            return self._byte()
        if kind in _INTEGERS:
            return self._integer()
        if kind == _DOUBLE:
            self.position += 8
            return None
        if kind == _BINARY:
            return self._binary()
        if kind in _LISTS:
            return self._list(depth)
        if kind == _STRUCT:
            return self._fields(depth)
        raise MalformedFooter(f"a field of it has the unknown type {kind}")

    def _list(self, depth: int) -> list[Any]:
        header = self._byte()
        count, kind = header >> 4, header & 0x0F
        if count == 15:
            count = self._varint()
        if count > MAX_NODES:
            raise StrangeFooter(f"it has {count} columns and groups")
        if kind in (_TRUE, _FALSE):  # in a list each takes a byte; as a field it has none
            kind = _BYTE
        return [self._value(kind, depth + 1) for _ in range(count)]

    def _fields(self, depth: int) -> dict[int, Any]:
        fields: dict[int, Any] = {}
        number = 0
        while header := self._byte():
            number = number + (header >> 4) if header >> 4 else self._integer()
            fields[number] = self._value(header & 0x0F, depth + 1)
        return fields
