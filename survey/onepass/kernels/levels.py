"""Rows of packed levels with factors for groups of neighbours, decoded to float32.

A row's levels are one little-endian stream of bits: level i lies at bits [b·i, b·i + b). So do MLX, and
compressed-tensors in its words of 32 bits. The number of a level is its distance from `lowest`, or an entry
of a table.
"""

from __future__ import annotations

import numpy as np

from survey.onepass.kernels.ggml_blocks import Bytes, Floats
from survey.onepass.kernels.jit import compiled, njit

EIGHT = 8  # levels: whole bytes of any width
LOW, FOUR = np.uint8(0x0F), np.uint8(4)


@njit(inline="always")
def _unpack(packed: Bytes, bits: int, levels: Bytes) -> None:
    """The levels of a group, from its bytes."""
    if bits == 8:
        for i in range(levels.size):
            levels[i] = packed[i]
    elif bits == 4:
        for i in range(levels.size >> 1):
            levels[2 * i] = packed[i] & LOW
            levels[2 * i + 1] = packed[i] >> FOUR
    else:
        mask = np.uint64((1 << bits) - 1)
        for start in range(0, levels.size, EIGHT):
            word, at = np.uint64(0), start // EIGHT * bits
            for byte in range(bits):
                word |= np.uint64(packed[at + byte]) << np.uint64(8 * byte)
            for i in range(EIGHT):
                levels[start + i] = np.uint8((word >> np.uint64(i * bits)) & mask)


@compiled
def decode_integers(
    packed: Bytes, bits: int, lowest: int, factors: Floats, added: Floats, width: int, values: Floats
) -> None:
    """Fill values [R, D] with (level + lowest) · factor + added, of the group of `width` elements.

    packed: [R, D · bits / 8]. factors, added: [R, D / width]. D and width are multiples of 8.
    """
    levels, group_bytes, zero = np.empty(width, np.uint8), width // EIGHT * bits, np.float32(lowest)
    for r in range(packed.shape[0]):
        for group in range(factors.shape[1]):
            factor, term, first = factors[r, group], added[r, group], group * group_bytes
            _unpack(packed[r, first : first + group_bytes], bits, levels)
            out = values[r, group * width : (group + 1) * width]
            for i in range(width):
                out[i] = (np.float32(np.int32(levels[i])) + zero) * factor + term


@compiled
def decode_table(
    packed: Bytes, bits: int, table: Floats, factors: Floats, width: int, values: Floats
) -> None:
    """Fill values [R, D] with table[level] · factor; shapes as in `decode_integers`."""
    levels, group_bytes = np.empty(width, np.uint8), width // EIGHT * bits
    for r in range(packed.shape[0]):
        for group in range(factors.shape[1]):
            factor, first = factors[r, group], group * group_bytes
            _unpack(packed[r, first : first + group_bytes], bits, levels)
            out = values[r, group * width : (group + 1) * width]
            for i in range(width):
                out[i] = table[levels[i]] * factor
