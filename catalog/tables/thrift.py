"""The compact protocol of thrift, as far as the schema of a Parquet footer needs it."""

from __future__ import annotations

from typing import Any

MAX_DEPTH = 12  # of nested values and of groups; ours are 5 deep
MAX_NODES = 10_000
MAX_VALUES = 20 * MAX_NODES  # a node has some ten
# Types of fields, as their headers number them.
TRUE, FALSE, BYTE, INTEGERS, DOUBLE, BINARY, LISTS, STRUCT = 1, 2, 3, (4, 5, 6), 7, 8, (9, 10), 12


class MalformedFooter(Exception):
    """The bytes are not a Parquet footer, or one that is nested too deep."""


class StrangeFooter(MalformedFooter):
    """The footer of a file that cannot be ours."""


class CutFooter(MalformedFooter):
    """The bytes end before the schema does."""


class CompactReader:
    """Reads values from a position on; each value takes a byte or more. All methods raise MalformedFooter."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._values = 0
        self.position = 0

    def byte(self) -> int:
        """The next byte."""
        try:
            value = self._content[self.position]
        except IndexError:
            raise CutFooter("it ends in its schema") from None
        self.position += 1
        return value

    def varint(self) -> int:
        """An unsigned integer, seven bits a byte."""
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
            if shift > 63:
                raise MalformedFooter("a number of it is too long")

    def integer(self) -> int:
        """A signed integer in zigzag encoding."""
        value = self.varint()
        return (value >> 1) ^ -(value & 1)

    def _binary(self) -> bytes:
        length = self.varint()
        content = self._content[self.position : self.position + length]
        if len(content) != length:
            raise CutFooter("it ends in its schema")
        self.position += length
        return content

    def value(self, kind: int, depth: int = 0) -> Any:  # Any: by the kind of field
        """A value of a type of fields; a struct is a dict by field number. depth: of nesting."""
        if depth > MAX_DEPTH:
            raise StrangeFooter("it is nested too deep")
        self._values += 1
        if self._values > MAX_VALUES:
            raise StrangeFooter(f"its schema has more than {MAX_VALUES} values")
        if kind in (TRUE, FALSE):
            return kind == TRUE
        if kind == BYTE:
            return self.byte()
        if kind in INTEGERS:
            return self.integer()
        if kind == DOUBLE:
            self.position += 8
            return None
        if kind == BINARY:
            return self._binary()
        if kind in LISTS:
            return self._list(depth)
        if kind == STRUCT:
            return self._fields(depth)
        raise MalformedFooter(f"a field of it has the unknown type {kind}")

    def _list(self, depth: int) -> list[Any]:
        header = self.byte()
        count, kind = header >> 4, header & 0x0F
        if count == 15:
            count = self.varint()
        if count > MAX_NODES:
            raise StrangeFooter(f"it has {count} columns and groups")
        if kind in (TRUE, FALSE):  # a boolean takes a byte in a list, and none as a field
            kind = BYTE
        return [self.value(kind, depth + 1) for _ in range(count)]

    def _fields(self, depth: int) -> dict[int, Any]:
        fields: dict[int, Any] = {}
        number = 0
        while header := self.byte():
            number = number + (header >> 4) if header >> 4 else self.integer()
            fields[number] = self.value(header & 0x0F, depth + 1)
        return fields
