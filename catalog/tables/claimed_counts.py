"""Footers that claim more structs than any file has: DuckDB allocates them before it reads the first.

A claim of 2^24 key-values takes 13 seconds, one of 2^28 the memory of a machine. First the footer is searched
for the bytes of such a claim (7 ms for 1,000 row files). Only if they occur, which happens by chance in the
statistics of 3 in 100 files, its fields are parsed (1 ms each).
"""

from __future__ import annotations

import re

from catalog.tables.thrift import (
    BINARY,
    BYTE,
    DOUBLE,
    INTEGERS,
    LISTS,
    MAX_DEPTH,
    STRUCT,
    MalformedFooter,
    StrangeFooter,
)

MAX_STRUCTS = (1 << 21) - 1  # in one list: what a varint of three bytes holds; a part has 100 row groups
MAX_CHECKED_BYTES = 1 << 16  # DuckDB reads the bytes after these, which only parts have, unchecked
# In thrift's compact protocol: a list of structs, and its length of four bytes or more.
_MANY_STRUCTS = re.compile(rb"\xfc[\x80-\xff]{3}")
# The header of a field that is a list: its number in the upper half of the byte, or in a number of its own.
_LIST_FIELD = re.compile(
    rb"(?:[\x19\x29\x39\x49\x59\x69\x79\x89\x99\xa9\xb9\xc9\xd9\xe9\xf9]|\x09[\x80-\xff]*[\x00-\x7f])\Z"
)


def refuse_claims(footer: bytes) -> None:
    """Raises StrangeFooter if a list of the footer claims more than MAX_STRUCTS structs."""
    checked = footer[:MAX_CHECKED_BYTES]
    if any(_follows_list_header(checked, match.start()) for match in _MANY_STRUCTS.finditer(checked)):
        try:
            _skip(checked, STRUCT, 0, 0)
        except IndexError:  # the checked bytes end here, and claim nothing
            return


def _follows_list_header(content: bytes, position: int) -> bool:
    return _LIST_FIELD.search(content, max(0, position - 12), position) is not None


def _skip(content: bytes, kind: int, position: int, depth: int) -> int:
    """The position after a value. Raises StrangeFooter, MalformedFooter; IndexError at their end."""
    if kind in INTEGERS:
        while content[position] >= 0x80:
            position += 1
        return position + 1
    if kind == BINARY:
        length, position = _varint(content, position)
        return position + length
    if depth > MAX_DEPTH:
        raise StrangeFooter("it is nested too deep")
    if kind == STRUCT:
        while header := content[position]:
            position += 1
            if not header >> 4:
                _, position = _varint(content, position)
            if header & 0x0F > 2:  # a boolean stands in its header
                position = _skip(content, header & 0x0F, position, depth + 1)
        return position + 1
    if kind in LISTS:
        return _skip_list(content, position, depth)
    if kind in (BYTE, DOUBLE):
        return position + (1 if kind == BYTE else 8)
    raise MalformedFooter(f"a field of it has the unknown type {kind}")


def _skip_list(content: bytes, position: int, depth: int) -> int:
    header = content[position]
    count, kind, position = header >> 4, header & 0x0F, position + 1
    if count == 15:
        count, position = _varint(content, position)
    if kind == STRUCT and count > MAX_STRUCTS:
        raise StrangeFooter(f"a list of it claims {count:,} entries")
    kind = BYTE if kind in (1, 2) else kind  # in a list a boolean takes a byte
    for _ in range(count):
        if position >= len(content):  # doubles and bytes are skipped without reading them
            raise IndexError
        position = _skip(content, kind, position, depth + 1)
    return position


def _varint(content: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while (byte := content[position]) >= 0x80:
        value |= (byte & 0x7F) << shift
        shift += 7
        position += 1
        if shift > 63:
            raise MalformedFooter("a number of it is too long")
    return value | byte << shift, position + 1
