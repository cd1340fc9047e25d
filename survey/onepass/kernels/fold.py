"""One slab of rows, folded: exponents counted, squares, sketches and columns added up.

All in one file, as one loop calls the others (see compiled.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from survey.onepass.kernels.jit import compiled
from survey.onepass.layout import GROUP_ROWS, LANE_DIMS, PROJECTION_DIMS

QUAD_ROWS = 4  # are folded together: neighbours' sums stay in registers
LINE_BYTES = 64
LEVELS = 15  # exponents that are counted side by side, in 4 bits each; the 16th place takes all others
FULL = 15  # what 4 bits can count
COUNT_LANES = 64
PACKED_WORDS = COUNT_LANES * FULL  # elements until they are full
COUNTER_ROUNDS = 17  # of them, until counters of 8 bits are
MANY_ROWS = 64  # of PACKED, that are better counted one by one
EVEN = np.uint64(0x0F0F0F0F0F0F0F0F)

Words = NDArray[np.unsignedinteger]
UInt16s = NDArray[np.uint16]
UInt64s = NDArray[np.uint64]
Counts = NDArray[np.int64]


@njit()
def _exponent_fields(upper: Words, stride: int, mask: np.uint16, fields: UInt16s) -> None:
    """The exponent of each of PACKED elements, left where it stands in its upper 16 bits (little-endian)."""
    if stride == 1:  # of 8 or 16 bits; a stride that is written down makes vectors
        for i in range(PACKED_WORDS):
            fields[i] = upper[i] & mask
    elif stride == 2:
        for i in range(PACKED_WORDS):
            fields[i] = upper[2 * i + 1] & mask
    else:
        for i in range(PACKED_WORDS):
            fields[i] = upper[4 * i + 3] & mask


@njit()
def _largest(fields: UInt16s) -> np.uint16:
    largest = np.uint16(0)
    for i in range(fields.size):  # by number, which makes vectors
        largest = max(largest, fields[i])
    return largest


@njit()
def _below(fields: UInt16s, top: np.uint16, beyond: np.uint16, steps: UInt16s) -> int:
    """How far each field lies below the top, `beyond` at most; returns how many do lie beyond."""
    found = np.uint16(0)
    for i in range(PACKED_WORDS):
        step = min(np.uint16(top - fields[i]), beyond)
        found = np.uint16(found + np.uint16(step == beyond))
        steps[i] = step
    return int(found)


@njit()
def _zeros(fields: UInt16s) -> int:
    found = np.uint16(0)
    for i in range(PACKED_WORDS):
        found = np.uint16(found + np.uint16(fields[i] == 0))
    return int(found)


@njit()
def _count_levels(steps: UInt16s, shift: np.uint64, even: UInt64s, odd: UInt64s) -> None:
    """Add PACKED elements to the 16 counters of 4 bits in each lane, and these to counters of 8 bits."""
    for lane in range(COUNT_LANES):
        packed = np.uint64(0)
        for term in range(FULL):
            packed += np.uint64(1) << (np.uint64(steps[term * COUNT_LANES + lane]) >> shift)
        even[lane] += packed & EVEN
        odd[lane] += (packed >> np.uint64(4)) & EVEN


@njit()
def _empty(counters: UInt64s, first: int, top: int, counts: Counts) -> None:
    """Move every second level's counters, from the first on, to the counts of exponents."""
    for place in range(8):
        found = np.uint64(0)
        for lane in range(COUNT_LANES):
            found += (counters[lane] >> np.uint64(8 * place)) & np.uint64(0xFF)
        level = first + 2 * place
        if level < LEVELS and found:
            counts[top - level] += np.int64(found)
    counters[:] = np.uint64(0)


@njit()
def _count_others(
    fields: UInt16s, steps: UInt16s, beyond: np.uint16, mantissa_bits: int, counts: Counts
) -> None:
    """The exponents that lie beyond and are not 0, one by one: few, so most stretches are only looked at."""
    for start in range(0, PACKED_WORDS, COUNT_LANES):
        if _largest(steps[start : start + COUNT_LANES]) == beyond:
            for i in range(start, start + COUNT_LANES):
                if steps[i] == beyond and fields[i]:
                    counts[fields[i] >> mantissa_bits] += 1


@compiled
def count_exponents(upper: Words, stride: int, mantissa_bits: int, counts: Counts) -> None:
    """Add the biased exponents of N elements to counts [exponent values].

    upper: words of 8 or 16 bits, [N · stride], of which every stride-th holds sign, exponent and
    `mantissa_bits` more. Nearly all exponents of a matrix are 0 or among LEVELS neighbours. These are counted
    in vectors, 16 counters of 4 bits in one word of 64, and one store an element is saved.
    """
    mask, one = np.uint16((len(counts) - 1) << mantissa_bits), np.uint16(1 << mantissa_bits)
    beyond, shift = np.uint16(LEVELS << mantissa_bits), np.uint64(mantissa_bits - 2)  # 4 bits a level
    fields, steps = np.empty(PACKED_WORDS, np.uint16), np.empty(PACKED_WORDS, np.uint16)
    even, odd = np.zeros(COUNT_LANES, np.uint64), np.zeros(COUNT_LANES, np.uint64)
    top, rounds, words = np.uint16(0), 0, PACKED_WORDS * stride
    whole = upper.size // words * words
    for start in range(0, whole, words):
        _exponent_fields(upper[start : start + words], stride, mask, fields)
        if rounds % COUNTER_ROUNDS == 0:
            _empty(even, 0, int(top) >> mantissa_bits, counts)
            _empty(odd, 1, int(top) >> mantissa_bits, counts)
            top = np.uint16(_largest(fields) + one)  # those that follow may be a little larger
        rounds += 1
        others = _below(fields, top, beyond, steps)
        zeros = _zeros(fields) if others and top >= beyond else 0
        others -= zeros
        if others > MANY_ROWS:  # it has other exponents: the next one's are looked at anew
            rounds = 0
            for field in fields:
                counts[field >> mantissa_bits] += 1
            continue
        _count_levels(steps, shift, even, odd)
        counts[0] += zeros
        if others:
            _count_others(fields, steps, beyond, mantissa_bits, counts)
    _empty(even, 0, int(top) >> mantissa_bits, counts)
    _empty(odd, 1, int(top) >> mantissa_bits, counts)
    for i in range(whole + stride - 1, upper.size, stride):
        counts[(upper[i] & mask) >> mantissa_bits] += 1


def _folding(value_of: Callable[[Any], float]) -> Callable[..., None]:
    """What folds QUAD_ROWS rows of LANE_DIMS elements each, whose values are `value_of` them.

    Each element is widened once and stays in a register for everything that becomes of it.
    """
    value = njit(inline="always")(value_of)

    @njit(inline="always")
    def fold_block(
        row0: NDArray[Any],
        row1: NDArray[Any],
        row2: NDArray[Any],
        row3: NDArray[Any],
        signs: NDArray[np.float64],
        lanes: NDArray[np.float64],
        turned: NDArray[np.float64],
        total: NDArray[np.float64],
    ) -> None:
        lanes0, lanes1, lanes2, lanes3 = lanes[0], lanes[1], lanes[2], lanes[3]
        turned0, turned1, turned2, turned3 = turned[0], turned[1], turned[2], turned[3]
        for lane in range(LANE_DIMS):  # a loop of fixed length is five times as fast
            a, b, c, d = value(row0[lane]), value(row1[lane]), value(row2[lane]), value(row3[lane])
            sign = signs[lane]
            lanes0[lane] += a * a
            lanes1[lane] += b * b
            lanes2[lane] += c * c
            lanes3[lane] += d * d
            turned0[lane] += a * sign
            turned1[lane] += b * sign
            turned2[lane] += c * sign
            turned3[lane] += d * sign
            total[lane] = (a + b) + (c + d)

    return fold_block


def _of_float(value: np.floating) -> float:
    return np.float64(value)


def _of_bfloat16(word: np.unsignedinteger) -> float:
    """Its bits are the upper half of a float32's."""
    return np.float64(np.uint32(np.uint32(word) << np.uint32(16)).view(np.float32))


def _of_float16(word: np.unsignedinteger) -> float:
    """Through the bits of a float32. Arithmetic alone: a table would not fit the first cache."""
    magnitude = np.int32(word) & np.int32(0x7FFF)
    normal = (magnitude << np.int32(13)) + np.int32(112 << 23)  # the biases are 15 and 127
    normal += np.int32(112 << 23) if magnitude >= np.int32(0x7C00) else np.int32(0)  # infinity, NaN
    small = np.float32(np.float32(magnitude) * np.float32(2.0**-24)).view(np.int32)  # subnormal, and zero
    found = small if magnitude < np.int32(0x400) else normal
    bits = np.uint32(np.uint32(found) | (np.uint32(word) & np.uint32(0x8000)) << np.uint32(16))
    return np.float64(bits.view(np.float32))


_fold_floats = _folding(_of_float)
_fold_bfloat16 = _folding(_of_bfloat16)
_fold_float16 = _folding(_of_float16)


@njit()
def _look_up(words: Words, table: NDArray[np.float32], values: NDArray[np.float32]) -> None:
    for i in range(words.size):
        values[i] = table[words[i]]


@njit()
def _lanes() -> NDArray[np.float64]:
    """Room for QUAD_ROWS × LANE_DIMS whose rows begin with a line of the cache, as wide vectors want it,
    and not a power of two apart: such addresses are taken for the same one."""
    width = LANE_DIMS + LINE_BYTES // 8
    room = np.empty((QUAD_ROWS + 1) * width)
    start = (LINE_BYTES - room.ctypes.data % LINE_BYTES) % LINE_BYTES // 8
    return room[start : start + QUAD_ROWS * width].reshape(QUAD_ROWS, width)


@njit()
def _halve(lanes: NDArray[np.float64], half: int) -> None:
    for row in range(QUAD_ROWS):
        of_row = lanes[row]
        for lane in range(half):
            of_row[lane] += of_row[half + lane]


@njit()
def _add_pairwise(sums: NDArray[np.float64]) -> None:
    """[2^n, D] to [D], which takes the place of the first."""
    count = len(sums)
    while count > 1:
        count //= 2
        for i in range(count):
            lower, upper, added = sums[2 * i], sums[2 * i + 1], sums[i]
            for d in range(len(added)):
                added[d] = lower[d] + upper[d]


@njit()
def _copy_start(stored: NDArray[Any], r: int, start: int, block: NDArray[Any]) -> None:
    """What is left of QUAD_ROWS rows from a dimension on."""
    for row in range(QUAD_ROWS):
        for d in range(stored.shape[1] - start):
            block[row, d] = stored[r + row, start + d]


@compiled
def fold_rows(
    upper: Words,
    stored: NDArray[Any],
    bfloat16: bool | None,
    float16: bool | None,
    table: NDArray[np.float32] | None,
    mantissa_bits: int,
    counts: Counts,
    signs: NDArray[np.float64],
    squared: NDArray[np.float64],
    sketched: NDArray[np.float64],
    groups: NDArray[np.float64],
) -> None:
    """Exponents, squares [R], sketches [R, SKETCH_DIMS] and column sums of stored rows [R, D].

    groups: room for the sums of each GROUP_ROWS rows, [2^n, D], zeros; the sum of all ends in the first.
    stored: float32 or float64; or words, and what they are: bfloat16, float16, or a table of the values of
    all words of 8 bits. The others are None, as branches on None are not compiled. upper: the same in words
    of 8 or 16 bits, [R, D · stride], and mantissa_bits of the upper one, as in `count_exponents`. signs: of
    the dimensions, padded with zeros to whole LANE_DIMS.
    """
    dims, quads = stored.shape[1], GROUP_ROWS // QUAD_ROWS
    stride = upper.shape[1] // dims
    totals = np.empty((quads, len(signs)))
    lanes, turned = _lanes(), _lanes()
    last = np.zeros((QUAD_ROWS, LANE_DIMS), stored.dtype)
    wide = np.empty((QUAD_ROWS, LANE_DIMS), np.float32)
    for group in range(stored.shape[0] // GROUP_ROWS):
        first = group * GROUP_ROWS
        count_exponents(upper[first : first + GROUP_ROWS].reshape(-1), stride, mantissa_bits, counts)
        for quad in range(quads):
            r = first + quad * QUAD_ROWS
            for row in range(QUAD_ROWS):
                for lane in range(LANE_DIMS):
                    lanes[row, lane] = turned[row, lane] = 0.0
            for start in range(0, len(signs), LANE_DIMS):
                end = start + LANE_DIMS
                sign, total = signs[start:end], totals[quad, start:end]
                if end <= dims:
                    row0, row1 = stored[r, start:end], stored[r + 1, start:end]
                    row2, row3 = stored[r + 2, start:end], stored[r + 3, start:end]
                else:
                    _copy_start(stored, r, start, last)
                    row0, row1, row2, row3 = last[0], last[1], last[2], last[3]
                if bfloat16 is not None:
                    _fold_bfloat16(row0, row1, row2, row3, sign, lanes, turned, total)
                elif float16 is not None:
                    _fold_float16(row0, row1, row2, row3, sign, lanes, turned, total)
                elif table is None:
                    _fold_floats(row0, row1, row2, row3, sign, lanes, turned, total)
                else:
                    _look_up(row0, table, wide[0])
                    _look_up(row1, table, wide[1])
                    _look_up(row2, table, wide[2])
                    _look_up(row3, table, wide[3])
                    _fold_floats(wide[0], wide[1], wide[2], wide[3], sign, lanes, turned, total)
            half = LANE_DIMS // 2
            while half > 0:
                _halve(lanes, half)
                if half >= PROJECTION_DIMS:
                    _halve(turned, half)
                half //= 2
            for row in range(QUAD_ROWS):
                squared[r + row] = lanes[row, 0]
                for lane in range(PROJECTION_DIMS):
                    sketched[r + row, lane] = turned[row, lane]
        added = groups[group]
        for d in range(dims):  # in one sweep
            lower = (totals[0, d] + totals[1, d]) + (totals[2, d] + totals[3, d])
            added[d] = lower + ((totals[4, d] + totals[5, d]) + (totals[6, d] + totals[7, d]))
    _add_pairwise(groups)
