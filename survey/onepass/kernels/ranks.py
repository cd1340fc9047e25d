"""Order statistics of many numbers without sorting them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from survey.onepass.kernels.jit import compiled, njit

HALF, VALUES = np.uint32(16), 1 << 16


@njit()
def _bucket_of_rank(counts: NDArray[np.int64], rank: int) -> tuple[int, int]:
    """The first bucket with more than `rank` numbers up to its end, and the rank within it."""
    for bucket in range(counts.size):
        if rank < counts[bucket]:
            return bucket, rank
        rank -= counts[bucket]
    return counts.size - 1, rank


@compiled
def find_ranks(words: NDArray[np.uint32], ranks: NDArray[np.int64], result: NDArray[np.uint32]) -> None:
    """Set result [K] to the words [N] of these ranks, [K]: from 0, the smallest first.

    Their upper halves are counted, then the lower ones of those that share the upper half of a rank.
    """
    upper = np.zeros(VALUES, np.int64)
    for word in words:
        upper[word >> HALF] += 1
    for k in range(ranks.size):
        bucket, rank = _bucket_of_rank(upper, ranks[k])
        lower = np.zeros(VALUES, np.int64)
        for word in words:
            if word >> HALF == np.uint32(bucket):
                lower[word & np.uint32(0xFFFF)] += 1
        value, _ = _bucket_of_rank(lower, rank)
        result[k] = np.uint32(bucket << 16) | np.uint32(value)
