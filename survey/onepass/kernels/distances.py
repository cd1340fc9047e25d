"""Squared distances between projections."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from survey.onepass.geometry import PROJECTION_DIMS
from survey.onepass.kernels.jit import compiled, njit

SAMPLE_BLOCK = 256  # distances that are computed together


@compiled
def square_distances(
    rows: NDArray[np.float32], centre: NDArray[np.float32], squared: NDArray[np.float32]
) -> None:
    """Set squared [R] to ‖row − centre‖² of rows [R, 32], in numpy's order of pairwise summation."""
    lanes = np.empty(8, dtype=np.float32)
    for r in range(rows.shape[0]):
        lanes[:] = 0.0
        for start in range(0, PROJECTION_DIMS, 8):
            for lane in range(8):
                difference = rows[r, start + lane] - centre[start + lane]
                lanes[lane] += difference * difference
        lower = (lanes[0] + lanes[1]) + (lanes[2] + lanes[3])
        squared[r] = lower + ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]))


@njit()
def _add_squares(values: NDArray[np.float32], centre: np.float32, sums: NDArray[np.float32]) -> None:
    for i in range(SAMPLE_BLOCK):
        difference = values[i] - centre
        sums[i] += difference * difference


@compiled
def neighbour_distances(
    rows: NDArray[np.float32], sample: NDArray[np.float32], nearest: NDArray[np.float32]
) -> None:
    """Set nearest [R, N] to ‖row − other‖² of the N nearest in a sample for each row of [R, 32], ascending.

    The same bits as `square_distances`. sample: transposed, [32, S]; S is a multiple of SAMPLE_BLOCK, so that
    a vector of the processor holds many distances.
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
            for distance in lanes[0]:
                if distance < least[last]:
                    index = last
                    while index > 0 and distance < least[index - 1]:
                        least[index] = least[index - 1]
                        index -= 1
                    least[index] = distance
