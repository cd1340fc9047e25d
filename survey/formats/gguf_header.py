"""The header of a GGUF file: its values, and the type, shape and bytes of each tensor.

Dimensions are stored fastest first; here they are [V, D] as everywhere else. A header that contradicts itself
is refused by name: unknown versions, names that occur twice, rows of broken blocks, tensors that overlap or
leave the file. A type of elements that nobody knows refuses its own tensor alone, if that is wanted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from survey.errors import BrokenFile
from survey.formats.bounded_json import NAME_CHARS
from survey.formats.gguf_values import (
    FIRST_WINDOW_BYTES,
    Values,
    Window,
    read_preamble,
    read_string,
    read_values,
)
from survey.formats.git_lfs import POINTER_BYTES, refuse_pointer
from survey.formats.safetensors_header import Header, ReadRange
from survey.numerics.ggml_types import block_size, ggml_type
from survey.records.tensors import ByteRange, TensorSpec

ALIGNMENT, DEFAULT_ALIGNMENT = "general.alignment", 32
MOST_TENSORS = 65_536  # models of a thousand layers have some ten thousand
MOST_DIMS = 4
SIZE_CAP = 1 << 62
UNKNOWN_TYPE = "ggml type "  # and its number: the dtype of a tensor whose bytes nobody can count


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """The tensors of one file, and its values by key."""

    header: Header
    values: Values


def read_gguf(
    read: ReadRange, file: str, size: int, where: str, first_bytes: int = FIRST_WINDOW_BYTES
) -> GgufHeader:
    """Read and check the header of a file of `size` bytes. first_bytes: that are read at first.

    Raises BrokenFile (`bad-header`) naming `where`.
    """
    window = Window(read, size, first_bytes)
    try:
        refuse_pointer(window.peek(POINTER_BYTES), "bad-header", where)
        tensors, keys = read_preamble(window)
        if tensors > MOST_TENSORS:
            raise ValueError(f"announces {tensors:,} tensors, expected at most {MOST_TENSORS:,}")
        values = read_values(window, keys)
        entries = [_read_entry(window, file) for _ in range(tensors)]
        alignment = _alignment(values)
        if (odd := next((entry for entry in entries if entry.bytes.start % alignment), None)) is not None:
            raise ValueError(
                f"{odd.name} lies at byte {odd.bytes.start:,} of the data, no multiple of {alignment}"
            )
        specs = _placed(entries, -(-window.position // alignment) * alignment, size)
    except ValueError as error:
        raise BrokenFile("bad-header", where, str(error)) from error
    return GgufHeader(Header(file, size, {spec.name: spec for spec in specs}), values)


def _read_entry(window: Window, file: str) -> TensorSpec:
    """A tensor as the header lists it; its bytes are those of the data. Raises ValueError."""
    name = read_string(window, NAME_CHARS, "a tensor's name")
    dims = window.u32()
    if not 1 <= dims <= MOST_DIMS:
        raise ValueError(f"{name} has {dims:,} dimensions, expected 1 to {MOST_DIMS}")
    shape = tuple(window.u64() for _ in range(dims))[::-1]
    number, offset = window.u32(), window.u64()
    size = 1
    for length in shape:
        size *= length
        if size > SIZE_CAP:
            raise ValueError(f"{name}'s shape is {list(shape)}: larger than any file")
    dtype = ggml_type(number)
    if dtype is None:
        return TensorSpec(name, file, f"{UNKNOWN_TYPE}{number}", shape, ByteRange(offset, offset))
    elements, block_bytes = block_size(dtype)
    if shape[-1] % elements:
        raise ValueError(f"{name}'s rows have {shape[-1]:,} elements, expected whole blocks of {elements}")
    return TensorSpec(name, file, dtype, shape, ByteRange(offset, offset + size // elements * block_bytes))


def _alignment(values: Values) -> int:
    stated = values.scalars.get(ALIGNMENT, DEFAULT_ALIGNMENT)
    if type(stated) is not int or not 1 <= stated <= 1 << 20 or stated & (stated - 1):
        raise ValueError(f"{ALIGNMENT} is {stated!r}, expected a power of two up to 1,048,576")
    return stated


def _placed(entries: Sequence[TensorSpec], start: int, size: int) -> list[TensorSpec]:
    """The tensors at their bytes in the file. Raises ValueError if two overlap or one leaves the file."""
    specs: list[TensorSpec] = []
    end, before = start, ""
    for entry in sorted(entries, key=lambda entry: (entry.bytes.start, entry.bytes.stop)):
        placed = ByteRange(start + entry.bytes.start, start + entry.bytes.stop)
        if placed.stop > size:
            problem = f"{entry.name} ends at byte {placed.stop:,}, the file at {size:,}"
            raise ValueError(problem)
        if len(placed) and placed.start < end:
            raise ValueError(f"{entry.name} and {before} share bytes of the file")
        if len(placed):
            end, before = placed.stop, entry.name
        specs.append(replace(entry, bytes=placed))
    if len({spec.name for spec in specs}) != len(specs):
        raise ValueError("a tensor is named twice")
    return specs
