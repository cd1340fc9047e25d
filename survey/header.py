"""The header of a safetensors file: 8 bytes of length, JSON, then the tensors' data.

What contradicts itself is refused here, in words that name the tensor; the reference parser (the
safetensors library), which does not hand out byte offsets, is asked, too.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from safetensors import SafetensorError, safe_open

from survey.dtypes import BITS
from survey.errors import BrokenFile
from survey.git_lfs import refuse_pointer
from survey.json_text import parse_json
from survey.target import ByteRange, TensorSpec

LENGTH_BYTES = 8
# The format allows 100 MB, which would take a GB of memory; the tensors that we read at most fit here.
HEADER_CAP_BYTES = 16 << 20
SIZE_CAP_BITS = 1 << 63
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
    refuse_pointer(start, "bad-header", where)
    json_bytes = int.from_bytes(start[:LENGTH_BYTES], "little")
    stop = LENGTH_BYTES + json_bytes
    if json_bytes > HEADER_CAP_BYTES or stop > size:
        raise BrokenFile(
            "bad-header",
            where,
            f"header length is {json_bytes:,}, expected at most "
            f"{min(HEADER_CAP_BYTES, size - LENGTH_BYTES):,} in a file of {size:,} bytes",
        )
    if stop > len(start):
        start += read(ByteRange(len(start), stop))
    return parse_header(start[:stop], file, size, where)


def parse_header(header: bytes, file: str, size: int, where: str) -> Header:
    """Parse length field + JSON of a file of `size` bytes.

    Raises BrokenFile (`bad-header`) where it contradicts itself, or the reference parser refuses it.
    """
    entries = parse_json(header[LENGTH_BYTES:], "bad-header", where)
    if not isinstance(entries, dict):
        raise BrokenFile("bad-header", where, f"header is a {type(entries).__name__}, expected an object")
    metadata = entries.pop("__metadata__", None)
    try:
        places = {name: _place(name, entry) for name, entry in entries.items()}
        _check_cover([place for _, _, place in places.values()], size - len(header))
    except ValueError as error:
        raise BrokenFile("bad-header", where, str(error)) from error
    _validate(header, size, where)
    tensors = {
        name: TensorSpec(
            name, file, dtype, shape, ByteRange(len(header) + place.start, len(header) + place.stop)
        )
        for name, (dtype, shape, place) in places.items()
    }
    return Header(file, size, tensors, metadata or {})


def _check_cover(places: list[ByteRange], data_bytes: int) -> None:
    """The tensors lie one after another and fill the data. Raises ValueError."""
    at = 0
    for place in sorted(places, key=lambda place: (place.start, place.stop)):
        if place.start > at:
            raise ValueError(f"bytes {at:,} to {place.start:,} of the data belong to no tensor")
        if place.start < at:
            raise ValueError(
                f"two tensors share the bytes {place.start:,} to {min(at, place.stop):,} of the data"
            )
        at = place.stop
    if at != data_bytes:
        raise ValueError(f"tensors end at byte {at:,} of the data, the file at {data_bytes:,}")


def _place(
    name: str, entry: Any
) -> tuple[str, tuple[int, ...], ByteRange]:  # Any: a value of somebody's JSON
    """dtype, shape and bytes [start, stop) of the data. Raises ValueError."""
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{name} is {_shown(entry)}, expected dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BITS:
        raise ValueError(f"{name}'s dtype is {_shown(dtype)}, expected one of the format's")
    if not _are_lengths(shape):
        raise ValueError(f"{name}'s shape is {_shown(shape)}, expected a list of lengths")
    if not _are_lengths(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise ValueError(f"{name}'s data_offsets are {_shown(offsets)}, expected its start and its end")
    bits = BITS[dtype]
    for length in [0] if 0 in shape else shape:
        bits *= length
        if bits > SIZE_CAP_BITS:
            raise ValueError(f"{name}'s shape is {_shown(shape)}: larger than any file")
    if bits != 8 * (offsets[1] - offsets[0]):
        problem = f"{name} has {offsets[1] - offsets[0]:,} bytes, {dtype} of shape {_shown(shape)} needs "
        raise ValueError(problem + (f"{bits // 8:,}" if bits % 8 == 0 else f"{bits:,} bits"))
    return dtype, tuple(shape), ByteRange(*offsets)


def _are_lengths(value: Any) -> bool:
    return isinstance(value, list) and all(type(number) is int and number >= 0 for number in value)


def _shown(value: Any) -> str:
    """A value of the header, short enough for a message."""
    if isinstance(value, (list, dict)) and len(value) > 8:
        return f"a {type(value).__name__} of {len(value):,}"
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _validate(header: bytes, size: int, where: str) -> None:
    """Ask the reference parser, too."""
    with tempfile.NamedTemporaryFile(suffix=".safetensors") as copy:
        copy.write(header)
        try:
            copy.truncate(size)  # sparse: the parser compares the offsets with the file's size
            copy.flush()
            with safe_open(copy.name, framework="np"):
                pass
        except (SafetensorError, OSError) as error:
            raise BrokenFile("bad-header", where, str(error)) from error
