"""Squared distances between projections, and between directions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from survey.onepass.geometry import DIRECTION_DIMS, PROJECTION_DIMS
from survey.onepass.kernels.jit import compiled, njit

SAMPLE_BLOCK = 256  # distances that are computed together
PART = 64  # of these, that are looked through together
SUM_LANES = 16
LAST_DIMS = 12  # of a projection: in these alone most pairs are too far apart, and no order was made by them
WINDOW = 16  # rows before and behind a row in the order of signs that it is compared with


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
def _set_squares(
    columns: tuple[NDArray[np.float32], ...], centre: NDArray[np.float32], sums: NDArray[np.float32]
) -> None:
    """Set sums to a block's squared differences in four dimensions, whose sums stay in registers."""
    first, second, third, fourth = columns
    centre0, centre1, centre2, centre3 = centre[0], centre[8], centre[16], centre[24]
    for i in range(SAMPLE_BLOCK):
        apart0, apart1 = first[i] - centre0, second[i] - centre1
        apart2, apart3 = third[i] - centre2, fourth[i] - centre3
        sums[i] = ((apart0 * apart0 + apart1 * apart1) + apart2 * apart2) + apart3 * apart3


@njit()
def _add_lanes(lanes: NDArray[np.float32]) -> None:
    """Add the 8 lanes of a block in numpy's order, to the first."""
    lane0, lane1, lane2, lane3 = lanes[0], lanes[1], lanes[2], lanes[3]
    lane4, lane5, lane6, lane7 = lanes[4], lanes[5], lanes[6], lanes[7]
    for i in range(SAMPLE_BLOCK):
        lower = (lane0[i] + lane1[i]) + (lane2[i] + lane3[i])
        lane0[i] = lower + ((lane4[i] + lane5[i]) + (lane6[i] + lane7[i]))


@njit()
def _any_below(values: NDArray[np.float32], most: np.float32) -> bool:
    count = np.int32(0)
    for i in range(PART):
        count += np.int32(values[i] < most)
    return bool(count > 0)


@compiled
def find_nearest(
    rows: NDArray[np.float32], sample: NDArray[np.float32], nearest: NDArray[np.float32]
) -> None:
    """Set nearest [R, N] to ‖row − other‖² of the N nearest in a sample for each row of [R, 32], ascending.

    The same bits as `square_distances`. sample: transposed, [32, S]; S is a multiple of SAMPLE_BLOCK, so that
    a vector of the processor holds many distances.
    """
    last = nearest.shape[1] - 1
    lanes = np.empty((8, SAMPLE_BLOCK), dtype=np.float32)
    for r in range(rows.shape[0]):
        row, least = rows[r], nearest[r]
        least[:] = np.inf
        for start in range(0, sample.shape[1], SAMPLE_BLOCK):
            end = start + SAMPLE_BLOCK
            for lane in range(8):
                columns = (
                    sample[lane, start:end],
                    sample[lane + 8, start:end],
                    sample[lane + 16, start:end],
                    sample[lane + 24, start:end],
                )
                _set_squares(columns, row[lane:], lanes[lane])
            _add_lanes(lanes)
            for first in range(0, SAMPLE_BLOCK, PART):
                part = lanes[0, first : first + PART]
                if not _any_below(part, least[last]):
                    continue
                for distance in part:
                    if distance < least[last]:
                        index = last
                        while index > 0 and distance < least[index - 1]:
                            least[index] = least[index - 1]
                            index -= 1
                        least[index] = distance


@compiled
def direction_distances(
    directions: NDArray[np.uint16], centre: NDArray[np.float32], squared: NDArray[np.float32]
) -> None:
    """Set squared [R] to ‖row − centre‖² of rows [R, 128] in bfloat16, in 16 lanes, added in halves."""
    lanes = np.empty(SUM_LANES, dtype=np.float32)
    words = np.empty(DIRECTION_DIMS, dtype=np.uint32)
    values = words.view(np.float32)
    for r in range(directions.shape[0]):
        row = directions[r]
        for d in range(DIRECTION_DIMS):
            words[d] = np.uint32(row[d]) << np.uint32(16)
        lanes[:] = 0.0
        for start in range(0, DIRECTION_DIMS, SUM_LANES):
            for lane in range(SUM_LANES):
                difference = values[start + lane] - centre[start + lane]
                lanes[lane] += difference * difference
        half = SUM_LANES // 2
        while half > 0:
            for lane in range(half):
                lanes[lane] += lanes[half + lane]
            half //= 2
        squared[r] = lanes[0]


@njit()
def _add_square_differences(
    a: NDArray[np.float32], b: NDArray[np.float32], sums: NDArray[np.float32]
) -> None:
    for i in range(SAMPLE_BLOCK):
        difference = a[i] - b[i]
        sums[i] += difference * difference


@njit()
def _any_up_to(values: NDArray[np.float32], most: np.float32) -> bool:
    count = np.int32(0)
    for i in range(SAMPLE_BLOCK):
        count += np.int32(values[i] <= most)
    return bool(count > 0)


@njit()
def _squared_distance(a: NDArray[np.float32], b: NDArray[np.float32]) -> np.float32:
    total = np.float32(0.0)
    for d in range(a.size):
        difference = a[d] - b[d]
        total += difference * difference
    return total


@njit()
def _set_last_dims(
    rows: NDArray[np.float32], numbers: NDArray[np.int64], columns: NDArray[np.float32]
) -> None:
    """Set columns [12, C] to the last dimensions of the first C of some rows; infinity if there are fewer."""
    count = min(numbers.size, columns.shape[1])
    for i in range(count):
        row = rows[numbers[i]]
        for d in range(LAST_DIMS):
            columns[d, i] = row[PROJECTION_DIMS - LAST_DIMS + d]
    columns[:, count:] = np.inf


@compiled
def count_close(
    rows: NDArray[np.float32],
    numbers: NDArray[np.int64],
    firsts: int,
    most: np.float32,
    close: NDArray[np.int32],
) -> None:
    """Add to close [N] for both rows of each pair that lies within √most, and at most 16 rows apart.

    numbers: of rows [R, 32], in an order that brings close ones together, [N]. firsts: how many of them count
    as the first of a pair. Their last dimensions are compared first: in these alone most pairs are too far
    apart. A block of them stays in the first cache.
    """
    squared = np.empty(SAMPLE_BLOCK, dtype=np.float32)
    columns = np.empty((LAST_DIMS, SAMPLE_BLOCK + WINDOW), dtype=np.float32)
    for start in range(0, firsts, SAMPLE_BLOCK):
        _set_last_dims(rows, numbers[start:], columns)
        for apart in range(1, WINDOW + 1):
            squared[:] = 0.0
            for d in range(LAST_DIMS):
                _add_square_differences(columns[d], columns[d, apart:], squared)
            if not _any_up_to(squared, most):
                continue
            for i in range(min(SAMPLE_BLOCK, firsts - start)):
                if squared[i] <= most:
                    one, other = start + i, start + i + apart
                    if _squared_distance(rows[numbers[one]], rows[numbers[other]]) <= most:
                        close[one] += 1
                        close[other] += 1


@compiled
def sign_codes(
    rows: NDArray[np.float32],
    numbers: NDArray[np.int64],
    centre: NDArray[np.float32],
    first: int,
    codes: NDArray[np.uint64],
) -> None:
    """Set codes [N] to the signs of row − centre, a bit for each dimension, and behind them its index.

    numbers: of rows [R, 32], [N]. first: the index of the first of them.
    """
    for n in range(numbers.size):
        row = rows[numbers[n]]
        code = np.uint64(0)
        for start in range(0, PROJECTION_DIMS, 8):
            byte = np.uint64(0)  # bytes do not wait for each other
            for d in range(start, start + 8):
                byte = (byte << np.uint64(1)) | np.uint64(row[d] > centre[d])
            code = (code << np.uint64(8)) | byte
        codes[n] = (code << np.uint64(32)) | np.uint64(first + n)
