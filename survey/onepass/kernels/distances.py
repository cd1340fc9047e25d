"""Squared distances between sketches."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from survey.onepass.kernels.jit import compiled
from survey.onepass.layout import PROJECTION_DIMS

SAMPLE_BLOCK = 256  # distances that are found together


@compiled
def square_distances(
    rows: NDArray[np.float32], centre: NDArray[np.float32], found: NDArray[np.float32]
) -> None:
    """‖row − centre‖² of sketches, [R, SKETCH_DIMS] -> [R], in numpy's order of pairwise summation."""
    lanes = np.empty(8, dtype=np.float32)
    for r in range(rows.shape[0]):
        lanes[:] = 0.0
        for start in range(0, PROJECTION_DIMS, 8):
            for lane in range(8):
                apart = rows[r, start + lane] - centre[start + lane]
                lanes[lane] += apart * apart
        lower = (lanes[0] + lanes[1]) + (lanes[2] + lanes[3])
        found[r] = lower + ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]))


@njit()
def _add_squares(values: NDArray[np.float32], centre: np.float32, sums: NDArray[np.float32]) -> None:
    for i in range(SAMPLE_BLOCK):
        apart = values[i] - centre
        sums[i] += apart * apart


@compiled
def neighbour_distances(
    rows: NDArray[np.float32], sample: NDArray[np.float32], nearest: NDArray[np.float32]
) -> None:
    """‖row − other‖² of each row's N nearest others in a sample, ascending, [R, SKETCH_DIMS] -> [R, N].

    The same bits as `square_distances`. sample: transposed, [SKETCH_DIMS, S]; S is a multiple of
    SAMPLE_BLOCK, so that many others are looked at in one vector.
    """
    last = nearest.shape[1] - 1
    lanes = np.empty((8, SAMPLE_BLOCK), dtype=np.float32)
    for r in range(rows.shape[0]):
        least = nearest[r]
        least[:] = np.inf
        for start in range(0, sample.shape[1], SAMPLE_BLOCK):
            lanes[:] = 0.0
            for d in range(PROJECTION_DIMS):
                _add_squares(sample[d, start : start + SAMPLE_BLOCK], rows[r, d], lanes[d % 8])
            for i in range(SAMPLE_BLOCK):
                lower = (lanes[0, i] + lanes[1, i]) + (lanes[2, i] + lanes[3, i])
                lanes[0, i] = lower + ((lanes[4, i] + lanes[5, i]) + (lanes[6, i] + lanes[7, i]))
            for apart in lanes[0]:
                if apart < least[last]:
                    at = last
                    while at > 0 and apart < least[at - 1]:
                        least[at] = least[at - 1]
                        at -= 1
                    least[at] = apart
