"""Rows of packed levels with factors for groups of neighbours, decoded to float32.

A row's levels are one little-endian stream of bits: level i lies at bits [b·i, b·i + b). So do MLX, and
compressed-tensors in its words of 32 bits. A table gives the number of each level: an integer, or a float.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from survey.onepass.kernels.jit import compiled

Floats = NDArray[np.float32]
_EIGHT = 8  # levels: whole bytes of any width


@compiled
def decode_levels(
    packed: NDArray[np.uint8],
    bits: int,
    table: Floats,
    factors: Floats,
    added: Floats,
    width: int,
    values: Floats,
) -> None:
    """Fill values [R, D] with table[level] · factor + added, of the group of `width` elements.

    packed: [R, D · bits / 8]. factors, added: [R, D / width]. D and width are multiples of 8.
    """
    mask, levels = np.uint64((1 << bits) - 1), np.empty(width, np.uint8)
    for r in range(packed.shape[0]):
        for group in range(factors.shape[1]):
            factor, term, first = factors[r, group], added[r, group], group * width
            for start in range(0, width, _EIGHT):
                word, at = np.uint64(0), (first + start) // _EIGHT * bits
                for byte in range(bits):
                    word |= np.uint64(packed[r, at + byte]) << np.uint64(8 * byte)
                for i in range(_EIGHT):
                    levels[start + i] = np.uint8((word >> np.uint64(i * bits)) & mask)
            out = values[r, first : first + width]
            for i in range(width):
                out[i] = table[levels[i]] * factor + term
