"""The first row with the same digest, for each row."""

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
    """Set first [stop − start] to the first row with the same digest, for rows [start, stop).

    digests: of all rows, [V, 2]. slots: a hash table of row + 1 by open addressing, 2^(64 − shift) slots and
    more than V; zeros at first. secrets: 4 random words. An attacker can craft rows that share half of a
    digest, but not rows that share a slot: pair-multiply-shift (M. Thorup, "High Speed Hashing for Integers
    and Strings", 2015).
    """
    last = len(slots) - 1
    for row in range(start, stop):
        high, low = digests[row, 0], digests[row, 1]
        mixed = (secrets[0] + (high & LOWER)) * (secrets[1] + (high >> HALF))
        mixed += (secrets[2] + (low & LOWER)) * (secrets[3] + (low >> HALF))
        slot = np.int64(mixed >> shift)
        while slots[slot]:
            earlier = slots[slot] - 1
            if digests[earlier, 0] == high and digests[earlier, 1] == low:
                break
            slot = (slot + 1) & last
        if not slots[slot]:
            slots[slot] = row + 1
        first[row - start] = slots[slot] - 1
