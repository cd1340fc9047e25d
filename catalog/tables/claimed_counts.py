"""Footers that claim more entries than any file has: DuckDB allocates them before it reads the first.

A claim of 2^24 key-values takes 13 seconds, one of 2^28 the memory of a machine. First the footer is searched
for the bytes of such a claim (7 ms for 1,000 row files). Only if they occur, which happens by chance in the
statistics of some files, its fields are parsed (1 ms each), or those of a part by Arrow, with its limits.
"""

from __future__ import annotations

import io
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

MAX_ENTRIES = (1 << 16) - 1  # of one list; a part has 100 row groups, a row 100 columns
MAX_WALKED_BYTES = 1 << 16  # a row file's footer has 20 kB; beyond, Arrow is faster, loaded and all
# In thrift's compact protocol: a list, and its length of 2^16 or more. Of whatever: readers make room for the
# type that they expect.
_MANY_ENTRIES = re.compile(rb"[\xf0-\xff][\x80-\xff]{2}[\x04-\xff]")
# The header of a field that is a list or a set: its number in the upper half of the byte, or in a number of
# its own.
_LIST_FIELD = re.compile(
    rb"(?:[\x19\x29\x39\x49\x59\x69\x79\x89\x99\xa9\xb9\xc9\xd9\xe9\xf9"
    rb"\x1a\x2a\x3a\x4a\x5a\x6a\x7a\x8a\x9a\xaa\xba\xca\xda\xea\xfa]|[\x09\x0a][\x80-\xff]*[\x00-\x7f])\Z"
)


def refuse_claims(footer: bytes) -> None:
    """Raises StrangeFooter if a list of the footer claims more than MAX_ENTRIES entries."""
    if not any(_follows_list_header(footer, match.start()) for match in _MANY_ENTRIES.finditer(footer)):
        return
    if len(footer) > MAX_WALKED_BYTES:
        _refuse_what_arrow_refuses(footer)
    else:
        _refuse_by_fields(footer)


def _refuse_by_fields(footer: bytes) -> None:
    try:
        skip_value(footer, STRUCT, 0, 0)
    except IndexError:
        raise StrangeFooter("it ends within one of its fields") from None


def _refuse_what_arrow_refuses(footer: bytes) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = io.BytesIO(b"PAR1" + footer + len(footer).to_bytes(4, "little") + b"PAR1")
    try:
        pq.ParquetFile(file, thrift_container_size_limit=MAX_ENTRIES)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise StrangeFooter(" ".join(str(error).split())[:200]) from error


def _follows_list_header(content: bytes, position: int) -> bool:
    return _LIST_FIELD.search(content, max(0, position - 12), position) is not None


def skip_value(content: bytes, kind: int, position: int, depth: int) -> int:
    """The position after a value. Raises StrangeFooter, MalformedFooter; IndexError at their end."""
    if kind in INTEGERS:
        while content[position] >= 0x80:
            position += 1
        return position + 1
    if kind == BINARY:
        length, position = varint_at(content, position)
        return position + length
    if depth > MAX_DEPTH:
        raise StrangeFooter("it is nested too deep")
    if kind == STRUCT:
        while header := content[position]:
            position += 1
            if not header >> 4:
                _, position = varint_at(content, position)
            if header & 0x0F > 2:  # a boolean stands in its header
                position = skip_value(content, header & 0x0F, position, depth + 1)
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
        count, position = varint_at(content, position)
    if count > MAX_ENTRIES:
        raise StrangeFooter(f"a list of it claims {count:,} entries")
    kind = BYTE if kind in (1, 2) else kind  # in a list a boolean takes a byte
    for _ in range(count):
        if position >= len(content):  # doubles and bytes are skipped without reading them
            raise IndexError
        position = skip_value(content, kind, position, depth + 1)
    return position


def varint_at(content: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while (byte := content[position]) >= 0x80:
        value |= (byte & 0x7F) << shift
        shift += 7
        position += 1
        if shift > 63:
            raise MalformedFooter("a number of it is too long")
    return value | byte << shift, position + 1
