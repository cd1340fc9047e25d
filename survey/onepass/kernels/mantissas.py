"""Fields of mantissas, counted."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from survey.onepass.kernels.jit import compiled


@compiled
def count_fields(
    words: NDArray[np.unsignedinteger], first: int, step: int, mantissa_bits: int, counts: NDArray[np.int64]
) -> None:
    """Add the mantissas of words [R, D] to counts [fields, 2^n], in every step-th row from the first one on.

    Each mantissa is cut into fields of n bits, or what is left of it, the uppermost first.
    """
    field_bits = 0
    while 1 << field_bits < counts.shape[1]:
        field_bits += 1
    for field in range(counts.shape[0]):
        below = mantissa_bits - (field + 1) * field_bits
        shift, mask = np.uint64(max(below, 0)), np.uint64((1 << (field_bits + min(below, 0))) - 1)
        of_field = counts[field]
        for r in range(first, words.shape[0], step):
            row = words[r]
            for d in range(row.size):
                of_field[(np.uint64(row[d]) >> shift) & mask] += 1
