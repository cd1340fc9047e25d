"""What a footer states of the chunks of its columns: whether they are encrypted, and their unpacked size.

DuckDB refuses an encrypted file with an error that names none, and pyarrow ends the process, as it does if it
is asked for the chunks of a footer whose statistics are strange. So they are read here, at a millisecond or
more, before pyarrow opens a file, and once DuckDB complained.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from catalog.files import MAX_FOOTER_BYTES
from catalog.tables.claimed_counts import skip_value, varint_at
from catalog.tables.thrift import INTEGERS, LISTS, STRUCT, MalformedFooter, StrangeFooter

if TYPE_CHECKING:
    import pyarrow.parquet as pq


@dataclass(frozen=True, slots=True)
class _Struct:
    """A struct of parquet.thrift: what its fields are, by number.

    encrypted: those that say so. structs: those that are structs, or lists of them. unpacked: the one that
    states the bytes of a chunk. is_group: whether it is a row group.
    """

    encrypted: tuple[int, ...] = ()
    structs: Mapping[int, _Struct] = field(default_factory=dict)
    unpacked: int | None = None
    is_group: bool = False


_CHUNK = _Struct(encrypted=(8, 9), structs={3: _Struct(unpacked=6)})
_FILE = _Struct(encrypted=(8, 9), structs={4: _Struct(structs={1: _CHUNK}, is_group=True)})


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
    unpacked_bytes(footer)


def unpacked_bytes(footer: bytes) -> list[int]:
    """The bytes of each row group when unpacked, as the footer states them. Raises as `refuse_encrypted`."""
    groups = [0]
    try:
        _end_of(footer, 0, _FILE, groups)
    except IndexError:
        raise StrangeFooter("it ends within one of its fields") from None
    return groups[1:]


def _end_of(footer: bytes, position: int, struct: _Struct, groups: list[int]) -> int:
    """The position after a struct. Raises as `refuse_encrypted`; IndexError at the end of the footer."""
    if struct.is_group:
        groups.append(0)
    number = 0
    while header := footer[position]:
        kind, position = header & 0x0F, position + 1
        if header >> 4:
            number += header >> 4
        else:
            number, position = _integer(footer, position)
        if number in struct.encrypted:
            raise StrangeFooter("it is encrypted")
        if number == struct.unpacked and kind in INTEGERS:
            groups[-1] += max(0, _integer(footer, position)[0])
        if number in struct.structs and kind in (STRUCT, *LISTS):
            end_of = _end_of if kind == STRUCT else _end_of_list
            position = end_of(footer, position, struct.structs[number], groups)
        elif kind > 2:  # a boolean stands in its header
            position = skip_value(footer, kind, position, 1)
    return position + 1


def _end_of_list(footer: bytes, position: int, struct: _Struct, groups: list[int]) -> int:
    header = footer[position]
    if header & 0x0F != STRUCT:
        return skip_value(footer, LISTS[0], position, 1)
    count, position = header >> 4, position + 1
    if count == 15:
        count, position = varint_at(footer, position)
    for _ in range(count):
        position = _end_of(footer, position, struct, groups)
    return position


def _integer(footer: bytes, position: int) -> tuple[int, int]:
    zigzag, position = varint_at(footer, position)
    return (zigzag >> 1) ^ -(zigzag & 1), position
