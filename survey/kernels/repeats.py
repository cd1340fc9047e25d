"""Which rows were seen before, by their digests."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from survey.kernels.compiled import compiled


@compiled
def find_first(
    digests: NDArray[np.uint64],
    start: int,
    stop: int,
    factor: np.uint64,
    shift: np.uint64,
    slots: NDArray[np.int32],
    first: NDArray[np.int32],
) -> None:
    """For rows [start, stop): the first row with the same digest, [stop − start].

    digests: of all rows, [V, 2]. slots: row + 1 by hash, open addressing, 2^(64 − shift) and more than V of
    them; zeros at first. factor: odd and random, so that nobody can make rows that share slots:
    multiply-shift (M. Dietzfelbinger and others, "A reliable randomized algorithm for the closest-pair
    problem", 1997).
    """
    last = len(slots) - 1
    for row in range(start, stop):
        at = np.int64((digests[row, 1] * factor) >> shift)
        while slots[at]:
            known = slots[at] - 1
            if digests[known, 0] == digests[row, 0] and digests[known, 1] == digests[row, 1]:
                break
            at = (at + 1) & last
        if not slots[at]:
            slots[at] = row + 1
        first[row - start] = slots[at] - 1
