"""The header of a safetensors file: 8 bytes of length, JSON, then the tensors' data.

The reference parser (the safetensors library) decides whether a header is valid; only the byte
offsets, which it does not hand out, are read from the JSON here.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from safetensors import SafetensorError, safe_open

from survey.dtypes import BITS
from survey.errors import BrokenFile
from survey.records import ByteRange, TensorSpec

LENGTH_BYTES = 8
FORMAT_CAP_BYTES = 100_000_000  # the format's own limit
FIRST_READ_BYTES = 65_536  # most headers are shorter, so one request is enough

ReadRange = Callable[[ByteRange], bytes]


@dataclass(frozen=True, slots=True)
class Header:
    """The tensors of one file by name; `size` is the file's, in bytes."""

    file: str
    size: int
    tensors: Mapping[str, TensorSpec]
    metadata: Mapping[str, str] = field(default_factory=dict)  # what the writer noted beside them


def read_header(read: ReadRange, file: str, size: int, where: str) -> Header:
    """Read and check the header of a file of `size` bytes through `read`.

    Raises BrokenFile (`bad-header`) naming `where`.
    """
    if size < LENGTH_BYTES:
        raise BrokenFile("bad-header", where, f"file has {size} bytes, expected at least {LENGTH_BYTES}")
    start = read(ByteRange(0, min(size, FIRST_READ_BYTES)))
    json_bytes = int.from_bytes(start[:LENGTH_BYTES], "little")
    stop = LENGTH_BYTES + json_bytes
    if json_bytes > FORMAT_CAP_BYTES or stop > size:
        raise BrokenFile(
            "bad-header",
            where,
            f"header length is {json_bytes:,}, expected at most "
            f"{min(FORMAT_CAP_BYTES, size - LENGTH_BYTES):,} in a file of {size:,} bytes",
        )
    if stop > len(start):
        start += read(ByteRange(len(start), stop))
    return parse_header(start[:stop], file, size, where)


def parse_header(header: bytes, file: str, size: int, where: str) -> Header:
    """Parse length field + JSON of a file of `size` bytes.

    Raises BrokenFile (`bad-header`) where the reference parser refuses it.
    """
    _validate(header, size, where)
    # Twice the same name is valid JSON and invisible to most parsers: which one would they mean?
    entries = json.loads(header[LENGTH_BYTES:], object_pairs_hook=lambda pairs: _unique(pairs, where))
    metadata = entries.pop("__metadata__", None)
    tensors = {name: _spec(name, file, entry, len(header), where) for name, entry in entries.items()}
    return Header(file, size, tensors, metadata or {})


def _validate(header: bytes, size: int, where: str) -> None:
    with tempfile.NamedTemporaryFile(suffix=".safetensors") as copy:
        copy.write(header)
        try:
            copy.truncate(size)  # sparse: the parser compares the offsets with the file's size
            copy.flush()
            with safe_open(copy.name, framework="np"):
                pass
        except (SafetensorError, OSError) as error:
            raise BrokenFile("bad-header", where, str(error)) from error


def _unique(pairs: list[tuple[str, Any]], where: str) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = sorted(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise BrokenFile("bad-header", where, f"{', '.join(twice[:3])} is named twice in the header")
    return found


def _spec(name: str, file: str, entry: Mapping[str, Any], data_start: int, where: str) -> TensorSpec:
    dtype, shape = entry["dtype"], tuple(entry["shape"])
    start, stop = entry["data_offsets"]
    if dtype not in BITS:
        raise BrokenFile("bad-header", where, f"{name}: unknown dtype {dtype}")
    return TensorSpec(name, file, dtype, shape, ByteRange(data_start + start, data_start + stop))
