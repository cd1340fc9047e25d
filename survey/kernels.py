"""Compiled loops over rows: what numpy would do in several sweeps through memory, done in one.

Each is written as the order of summation in survey/sums.py says, without `fastmath`: the compiler
may then use vectors as wide as the processor's, but may neither reorder a sum nor fuse its products.
They run without Python's global lock. What is compiled is kept beside this file, or where that
cannot be written to in the user's cache folder (numba's `NUMBA_CACHE_DIR` names another).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec

import numpy as np
from numba import njit
from numpy.typing import NDArray

from survey.sketch import SKETCH_DIMS
from survey.slabs import GROUP_ROWS
from survey.sums import LANE_DIMS

COUNTERS = 8  # side by side: neighbours often share an exponent, and would wait for each other

Words = NDArray[np.unsignedinteger]
Arguments = ParamSpec("Arguments")


def compiled(loop: Callable[Arguments, None]) -> Callable[Arguments, None]:
    """The loop, compiled when it is first called, once for each type of its arguments."""
    try:
        return njit(nogil=True, cache=True)(loop)
    except RuntimeError:  # no folder that may be written to
        return njit(nogil=True)(loop)


@compiled
def count_exponents(words: Words, mantissa_bits: int, counts: NDArray[np.uint32]) -> None:
    """Add the biased exponents of words [N] to counts [COUNTERS, exponent values]."""
    shift, mask = np.uint64(mantissa_bits), np.uint64(counts.shape[1] - 1)
    whole = words.size // COUNTERS * COUNTERS
    for i in range(0, whole, COUNTERS):
        for counter in range(COUNTERS):
            counts[counter, (np.uint64(words[i + counter]) >> shift) & mask] += 1
    for i in range(whole, words.size):
        counts[0, (np.uint64(words[i]) >> shift) & mask] += 1


@compiled
def square_rows(
    rows: NDArray[np.floating],
    signs: NDArray[np.float64],
    squared: NDArray[np.float64],
    sketched: NDArray[np.float64],
) -> None:
    """Σ_d w² of each row, [R, D] -> [R], and its sketch with these signs [D], -> [R, SKETCH_DIMS]."""
    dims = rows.shape[1]
    whole = dims // LANE_DIMS * LANE_DIMS  # a loop of fixed length is five times as fast
    lanes, turned = np.empty(LANE_DIMS), np.empty(LANE_DIMS)
    for r in range(rows.shape[0]):
        lanes[:] = 0.0
        turned[:] = 0.0
        for start in range(0, whole, LANE_DIMS):
            for lane in range(LANE_DIMS):
                value = np.float64(rows[r, start + lane])
                lanes[lane] += value * value
                turned[lane] += value * signs[start + lane]
        for lane in range(dims - whole):
            value = np.float64(rows[r, whole + lane])
            lanes[lane] += value * value
            turned[lane] += value * signs[whole + lane]
        half = LANE_DIMS // 2
        while half > 0:
            for lane in range(half):
                lanes[lane] += lanes[half + lane]
            if half >= SKETCH_DIMS:
                for lane in range(half):
                    turned[lane] += turned[half + lane]
            half //= 2
        squared[r] = lanes[0]
        for lane in range(SKETCH_DIMS):
            sketched[r, lane] = turned[lane]


@njit(inline="always")
def _pair(rows: NDArray[np.floating], r: int, d: int) -> float:
    return np.float64(rows[r, d]) + np.float64(rows[r + 1, d])


@njit(inline="always")
def _eight(rows: NDArray[np.floating], r: int, d: int) -> float:
    lower = _pair(rows, r, d) + _pair(rows, r + 2, d)
    return lower + (_pair(rows, r + 4, d) + _pair(rows, r + 6, d))


@compiled
def add_group(rows: NDArray[np.floating], total: NDArray[np.float64]) -> None:
    """GROUP_ROWS rows added pairwise, [GROUP_ROWS, D] -> [D], in registers."""
    for d in range(rows.shape[1]):
        lower = _eight(rows, 0, d) + _eight(rows, 8, d)
        total[d] = lower + (_eight(rows, 16, d) + _eight(rows, 24, d))


@njit(inline="always")
def _of_float16(word: np.unsignedinteger) -> np.uint32:
    """The bits of a float32 of the same value. Arithmetic alone: a table would not fit the first cache."""
    magnitude = np.int32(word) & np.int32(0x7FFF)
    normal = (magnitude << np.int32(13)) + np.int32(112 << 23)  # the biases are 15 and 127
    normal += np.int32(112 << 23) if magnitude >= np.int32(0x7C00) else np.int32(0)  # infinity, NaN
    small = np.float32(np.float32(magnitude) * np.float32(2.0**-24)).view(np.int32)  # subnormal, and zero
    found = small if magnitude < np.int32(0x400) else normal
    return np.uint32(found) | (np.uint32(word) & np.uint32(0x8000)) << np.uint32(16)


@compiled
def widen_words(
    words: Words, table: NDArray[np.float32], mantissa_bits: int, bits: NDArray[np.uint32]
) -> None:
    """Words [N] to the bits of the float32 of the same value, [N].

    table: the value of every word of 8 bits. Empty: they are bfloat16, the upper half of a float32,
    or with 10 bits of mantissa float16.
    """
    if table.size:
        wide = bits.view(np.float32)
        for i in range(words.size):
            wide[i] = table[words[i]]
    elif mantissa_bits == 10:
        for i in range(words.size):
            bits[i] = _of_float16(words[i])
    else:
        for i in range(words.size):
            bits[i] = np.uint32(words[i]) << np.uint32(16)


@compiled
def square_distances(
    rows: NDArray[np.float32], centre: NDArray[np.float32], found: NDArray[np.float32]
) -> None:
    """‖row − centre‖² of sketches, [R, SKETCH_DIMS] -> [R], in numpy's order of pairwise summation."""
    lanes = np.empty(8, dtype=np.float32)
    for r in range(rows.shape[0]):
        lanes[:] = 0.0
        for start in range(0, SKETCH_DIMS, 8):
            for lane in range(8):
                apart = rows[r, start + lane] - centre[start + lane]
                lanes[lane] += apart * apart
        lower = (lanes[0] + lanes[1]) + (lanes[2] + lanes[3])
        found[r] = lower + ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]))


@compiled
def fold_values(
    words: Words,
    values: NDArray[np.floating],
    mantissa_bits: int,
    counts: NDArray[np.uint32],
    signs: NDArray[np.float64],
    squared: NDArray[np.float64],
    sketched: NDArray[np.float64],
    groups: NDArray[np.float64],
) -> None:
    """Exponents, squares [R], sketches [R, SKETCH_DIMS] and sums [R / GROUP_ROWS, D] of stored words and
    their values, both [R, D]."""
    for group in range(words.shape[0] // GROUP_ROWS):
        start, stop = group * GROUP_ROWS, (group + 1) * GROUP_ROWS
        count_exponents(words[start:stop].reshape(-1), mantissa_bits, counts)
        square_rows(values[start:stop], signs, squared[start:stop], sketched[start:stop])
        add_group(values[start:stop], groups[group])


@compiled
def fold_short_words(
    words: Words,
    table: NDArray[np.float32],
    mantissa_bits: int,
    counts: NDArray[np.uint32],
    signs: NDArray[np.float64],
    squared: NDArray[np.float64],
    sketched: NDArray[np.float64],
    groups: NDArray[np.float64],
) -> None:
    """The same of formats shorter than float32, widened group by group so that they stay in the cache.

    table: as in `widen_words`.
    """
    bits = np.empty((GROUP_ROWS, words.shape[1]), dtype=np.uint32)
    for group in range(words.shape[0] // GROUP_ROWS):
        start, stop = group * GROUP_ROWS, (group + 1) * GROUP_ROWS
        widen_words(words[start:stop].reshape(-1), table, mantissa_bits, bits.reshape(-1))
        fold_values(
            words[start:stop],
            bits.view(np.float32),
            mantissa_bits,
            counts,
            signs,
            squared[start:stop],
            sketched[start:stop],
            groups[group : group + 1],
        )
