"""Encrypted files: DuckDB refuses them with an error that names none, and pyarrow ends the process.

A footer that anybody can read says that the file, or some of its columns, are encrypted. That costs a
millisecond to find, so it is looked for before pyarrow opens a file, and once DuckDB complained.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from catalog.files import MAX_FOOTER_BYTES
from catalog.tables.claimed_counts import skip_value, varint_at
from catalog.tables.thrift import LISTS, STRUCT, MalformedFooter, StrangeFooter

if TYPE_CHECKING:
    import pyarrow.parquet as pq


@dataclass(frozen=True, slots=True)
class _Struct:
    """A struct of parquet.thrift. encrypted: its fields that say so, by number. lists: those of structs."""

    encrypted: tuple[int, ...] = ()
    lists: Mapping[int, _Struct] = field(default_factory=dict)


_CHUNK = _Struct(encrypted=(8, 9))  # how, and the column's metadata
_FILE = _Struct(encrypted=(8, 9), lists={4: _Struct(lists={1: _CHUNK})})  # row groups, and columns of each


def parquet_file(opened: IO[bytes]) -> pq.ParquetFile:
    """Open a file whose end was inspected. Raises OSError if it is encrypted."""
    import pyarrow.parquet as pq

    opened.seek(0, 2)
    size = opened.tell()
    opened.seek(max(0, size - 8))
    footer_bytes = int.from_bytes(opened.read(4), "little")
    opened.seek(max(0, size - 8 - footer_bytes))
    footer = opened.read(min(footer_bytes, MAX_FOOTER_BYTES))
    try:
        refuse_encrypted(footer)
    except MalformedFooter as error:
        raise OSError(str(error)) from error
    opened.seek(0)
    return pq.ParquetFile(opened)


def refuse_encrypted(footer: bytes) -> None:
    """Raises StrangeFooter if a footer says that a part of its file is encrypted, MalformedFooter."""
    try:
        _end_of(footer, 0, _FILE)
    except IndexError:
        raise StrangeFooter("it ends within one of its fields") from None


def _end_of(footer: bytes, position: int, struct: _Struct) -> int:
    """The position after a struct. Raises as `refuse_encrypted`; IndexError at the end of the footer."""
    number = 0
    while header := footer[position]:
        kind, position = header & 0x0F, position + 1
        if header >> 4:
            number += header >> 4
        else:
            zigzag, position = varint_at(footer, position)
            number = (zigzag >> 1) ^ -(zigzag & 1)
        if number in struct.encrypted:
            raise StrangeFooter("it is encrypted")
        if number in struct.lists and kind in LISTS:
            position = _end_of_list(footer, position, struct.lists[number])
        elif kind > 2:  # a boolean stands in its header
            position = skip_value(footer, kind, position, 1)
    return position + 1


def _end_of_list(footer: bytes, position: int, struct: _Struct) -> int:
    header = footer[position]
    if header & 0x0F != STRUCT:
        return skip_value(footer, LISTS[0], position, 1)
    count, position = header >> 4, position + 1
    if count == 15:
        count, position = varint_at(footer, position)
    for _ in range(count):
        position = _end_of(footer, position, struct)
    return position
