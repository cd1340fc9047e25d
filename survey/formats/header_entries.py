"""The entries of a safetensors header, checked one by one and together: each tensor has its own bytes."""

from __future__ import annotations

import json
import re
from array import array
from typing import Any

import numpy as np

from survey.errors import BrokenFile
from survey.numerics.dtypes import BITS
from survey.records.tensors import ByteRange

SIZE_CAP_BITS = 1 << 63
# Formats of numbers are added from time to time; a file that holds one is read for its other tensors.
_DTYPE = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,31}")


def checked_entry(
    name: str, entry: Any
) -> tuple[str, tuple[int, ...], ByteRange]:  # Any: a value of somebody's JSON
    """dtype, shape, and bytes [start, stop) of the data. Raises ValueError if they contradict each other.

    The dtype may be one that is not in BITS; then nothing says how many bytes the shape takes.
    """
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{name} is {_shown(entry)}, expected dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or not _DTYPE.fullmatch(dtype):
        raise ValueError(f"{name}'s dtype is {_shown(dtype)}, expected one of the format's")
    if not _are_lengths(shape):
        raise ValueError(f"{name}'s shape is {_shown(shape)}, expected a list of lengths")
    if not _are_lengths(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise ValueError(f"{name}'s data_offsets are {_shown(offsets)}, expected its start and its end")
    bits = BITS.get(dtype, 1)
    for length in [0] if 0 in shape else shape:
        bits *= length
        if bits > SIZE_CAP_BITS:
            raise ValueError(f"{name}'s shape is {_shown(shape)}: larger than any file")
    if dtype in BITS and bits != 8 * (offsets[1] - offsets[0]):
        problem = f"{name} has {offsets[1] - offsets[0]:,} bytes, {dtype} of shape {_shown(shape)} needs "
        raise ValueError(problem + (f"{bits // 8:,}" if bits % 8 == 0 else f"{bits:,} bits"))
    return dtype, tuple(shape), ByteRange(*offsets)


def checked_metadata(entry: Any, where: str) -> dict[str, str]:  # Any: a value of somebody's JSON
    """What the writer noted; null stands for nothing. Raises BrokenFile if it is anything but texts.

    The reference parser checks it, too, but is not asked about large headers.
    """
    if entry is None:
        return {}
    if not isinstance(entry, dict) or not all(isinstance(note, str) for note in entry.values()):
        raise BrokenFile("bad-header", where, f"__metadata__ is {_shown(entry)}, expected texts by name")
    return entry


def _are_lengths(value: Any) -> bool:
    return isinstance(value, list) and all(type(number) is int and number >= 0 for number in value)


def _shown(value: Any) -> str:
    """A value of the header, short enough for a message."""
    if isinstance(value, (list, dict)) and len(value) > 8:
        return f"a {type(value).__name__} of {len(value):,}"
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."


class Coverage:
    """Checks that tensors lie side by side and fill the data; it takes 16 bytes for each."""

    def __init__(self) -> None:
        self._starts, self._stops = array("q"), array("q")

    def add(self, span: ByteRange, data_bytes: int) -> None:
        """Add the bytes of a tensor. Raises ValueError if they end after the data."""
        if span.stop > data_bytes:
            raise ValueError(f"tensors end at byte {span.stop:,} of the data, the file at {data_bytes:,}")
        self._starts.append(span.start)
        self._stops.append(span.stop)

    def check(self, data_bytes: int) -> None:
        """Raise ValueError if bytes belong to no tensor, or to two."""
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
