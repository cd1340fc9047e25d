"""The header of a safetensors file: 8 bytes of length, JSON, then the tensors' data.

What contradicts itself is refused here, in words that name the tensor; the reference parser (the
safetensors library), which does not hand out byte offsets, is asked, too.
"""

from __future__ import annotations

import json
import tempfile
from array import array
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from safetensors import SafetensorError, safe_open

from survey.errors import BrokenFile
from survey.formats.bounded_json import fits, parse_json, refuse_long_name
from survey.formats.git_lfs import refuse_pointer
from survey.formats.json_stream import members
from survey.formats.name_kinds import Kinds
from survey.numerics.dtypes import BITS
from survey.records.target import ByteRange, TensorSpec

LENGTH_BYTES = 8
HEADER_CAP_BYTES = 64 << 20  # 500,000 tensors; the format allows 100 MB
# The reference parser is asked about headers of usual size only: of 60 MB it makes half a GB.
REFERENCE_CAP_BYTES = 16 << 20
SIZE_CAP_BITS = 1 << 63
FIRST_READ_BYTES = 65_536  # most headers are shorter, so one request is enough

ReadRange = Callable[[ByteRange], bytes]


class Outline(Protocol):
    """What a tensor is, wherever it lies."""

    @property
    def dtype(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...


@dataclass(frozen=True, slots=True)
class Header:
    """The tensors of one file by name; `size` is the file's, in bytes.

    outlines: of the same tensors, where looking one up costs a read.
    """

    file: str
    size: int
    tensors: Mapping[str, TensorSpec]
    metadata: Mapping[str, str] = field(default_factory=dict)  # what the writer noted beside them
    outlines: Mapping[str, Outline] | None = None
    left_out: int = 0  # tensors more, of kinds of which there are thousands

    def outline(self, name: str) -> Outline | None:
        """A tensor's dtype and shape; None where the file holds no such tensor."""
        return (self.tensors if self.outlines is None else self.outlines).get(name)


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
    if HEADER_CAP_BYTES < json_bytes <= size:
        problem = f"has a header of {json_bytes:,} bytes, expected at most {HEADER_CAP_BYTES:,}, our cap"
        raise BrokenFile("bad-header", where, problem)
    if stop > size:
        raise BrokenFile(
            "bad-header",
            where,
            f"header length is {json_bytes:,}, expected at most "
            f"{size - LENGTH_BYTES:,} in a file of {size:,} bytes",
        )
    if stop > REFERENCE_CAP_BYTES:
        start = read(ByteRange(0, stop))  # anew: to join the two would take twice the memory
    elif stop > len(start):
        start += read(ByteRange(len(start), stop))
    return parse_header(start if len(start) == stop else start[:stop], file, size, where)


def parse_header(header: bytes, file: str, size: int, where: str) -> Header:
    """Parse length field + JSON of a file of `size` bytes.

    Raises BrokenFile (`bad-header`) where it contradicts itself, or the reference parser refuses it.
    """
    kinds = None if fits(header) else Kinds("bad-header", where)
    metadata: Mapping[str, str] = {}
    tensors: dict[str, TensorSpec] = {}
    cover, data_bytes = Cover(), size - len(header)
    try:
        for name, entry in _entries(header, where, whole=kinds is None):
            if name == "__metadata__":
                metadata = entry or {}
                continue
            refuse_long_name(name, "bad-header", where)
            dtype, shape, place = _place(name, entry)
            cover.add(place, data_bytes)
            if kinds is None or kinds.keep(name):
                at = ByteRange(len(header) + place.start, len(header) + place.stop)
                tensors[name] = TensorSpec(name, file, dtype, shape, at)
        cover.check(data_bytes)
    except ValueError as error:
        raise BrokenFile("bad-header", where, str(error)) from error
    if len(header) <= REFERENCE_CAP_BYTES:
        _validate(header, size, where)
    return Header(file, size, tensors, metadata, left_out=kinds.left_out if kinds else 0)


def _entries(header: bytes, where: str, *, whole: bool) -> Iterable[tuple[str, Any]]:
    """What the header says by name. whole: whether it may be parsed at once."""
    if not whole:
        return members(header, LENGTH_BYTES, None, "bad-header", where)
    entries = parse_json(header[LENGTH_BYTES:], "bad-header", where)
    if not isinstance(entries, dict):
        raise BrokenFile("bad-header", where, f"header is a {type(entries).__name__}, expected an object")
    return entries.items()


class Cover:
    """Whether tensors lie one after another and fill the data; 16 bytes for each."""

    def __init__(self) -> None:
        self._starts, self._stops = array("q"), array("q")

    def add(self, place: ByteRange, data_bytes: int) -> None:
        """Raises ValueError where a tensor ends after the data."""
        if place.stop > data_bytes:
            raise ValueError(f"tensors end at byte {place.stop:,} of the data, the file at {data_bytes:,}")
        self._starts.append(place.start)
        self._stops.append(place.stop)

    def check(self, data_bytes: int) -> None:
        """Raises ValueError where bytes belong to no tensor, or to two."""
        starts, stops = np.array(self._starts, np.int64), np.array(self._stops, np.int64)
        order = np.lexsort((stops, starts))
        starts, ends = starts[order], np.concatenate(([0], stops[order]))
        wrong = np.flatnonzero(starts != ends[:-1])
        if len(wrong):
            start, end, stop = (int(a[wrong[0]]) for a in (starts, ends, ends[1:]))
            if start > end:
                raise ValueError(f"bytes {end:,} to {start:,} of the data belong to no tensor")
            raise ValueError(f"two tensors share the bytes {start:,} to {min(end, stop):,} of the data")
        if ends[-1] != data_bytes:
            raise ValueError(f"tensors end at byte {int(ends[-1]):,} of the data, the file at {data_bytes:,}")


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
