"""Which rows were seen before, by their digests."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from survey.onepass.kernels.jit import compiled

HALF, LOWER = np.uint64(32), np.uint64(0xFFFFFFFF)


@compiled
def find_first(
    digests: NDArray[np.uint64],
    start: int,
    stop: int,
    secrets: NDArray[np.uint64],
    shift: np.uint64,
    slots: NDArray[np.int32],
    first: NDArray[np.int32],
) -> None:
    """For rows [start, stop): the first row with the same digest, [stop − start].

    digests: of all rows, [V, 2]. slots: row + 1 by hash, open addressing, 2^(64 − shift) and more than V of
    them; zeros at first. secrets: 4 random words. Rows that share half a digest are easily made, but with
    them none that share slots: pair-multiply-shift (M. Thorup, "High Speed Hashing for Integers and
    Strings", 2015).
    """
    last = len(slots) - 1
    for row in range(start, stop):
        high, low = digests[row, 0], digests[row, 1]
        mixed = (secrets[0] + (high & LOWER)) * (secrets[1] + (high >> HALF))
        mixed += (secrets[2] + (low & LOWER)) * (secrets[3] + (low >> HALF))
        at = np.int64(mixed >> shift)
        while slots[at]:
            known = slots[at] - 1
            if digests[known, 0] == high and digests[known, 1] == low:
                break
            at = (at + 1) & last
        if not slots[at]:
            slots[at] = row + 1
        first[row - start] = slots[at] - 1
