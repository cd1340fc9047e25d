"""One slab of rows, folded: exponents counted; squares, projections and columns summed.

Everything is in this file, because one loop calls the others (see jit.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from survey.onepass.geometry import DIRECTION_DIMS, GROUP_ROWS, LANE_DIMS, PROJECTION_DIMS
from survey.onepass.kernels.jit import compiled, njit

QUAD_ROWS = 4  # are folded together, so that sums of neighbours stay in registers
LINE_BYTES = 64
LEVELS = (
    15  # neighbouring exponents that are counted side by side, each in 4 bits; the 16th counts all others
)
FULL = 15  # the most that 4 bits can count
COUNT_LANES = 64
STRETCH = COUNT_LANES * FULL  # elements until counters of 4 bits are full
COUNTER_ROUNDS = 17  # stretches until counters of 8 bits are full
MANY_OTHERS = 64  # of a stretch's elements: then all of them are better counted one by one
EVEN = np.uint64(0x0F0F0F0F0F0F0F0F)

Words = NDArray[np.unsignedinteger]
UInt16s = NDArray[np.uint16]
UInt64s = NDArray[np.uint64]
Counts = NDArray[np.int64]


@njit()
def _exponent_fields(upper: Words, stride: int, mask: np.uint16, fields: UInt16s) -> None:
    """The exponents of a stretch of elements, left at their position in the upper 16 bits (little-endian)."""
    if stride == 1:  # of 8 or 16 bits; a stride that is a literal makes vectors
        for i in range(STRETCH):
            fields[i] = upper[i] & mask
    elif stride == 2:
        for i in range(STRETCH):
            fields[i] = upper[2 * i + 1] & mask
    else:
        for i in range(STRETCH):
            fields[i] = upper[4 * i + 3] & mask


@njit()
def _largest(fields: UInt16s) -> np.uint16:
    largest = np.uint16(0)
    for i in range(fields.size):  # by index, which makes vectors
        largest = max(largest, fields[i])
    return largest


@njit()
def _levels_below(fields: UInt16s, top: np.uint16, lowest: np.uint16, levels: UInt16s) -> int:
    """Set levels to how far each field lies below the top, at most `lowest`; return how many reach it."""
    count = np.uint16(0)
    for i in range(STRETCH):
        level = min(np.uint16(top - fields[i]), lowest)
        count = np.uint16(count + np.uint16(level == lowest))
        levels[i] = level
    return int(count)


@njit()
def _zeros(fields: UInt16s) -> int:
    count = np.uint16(0)
    for i in range(STRETCH):
        count = np.uint16(count + np.uint16(fields[i] == 0))
    return int(count)


@njit()
def _count_levels(levels: UInt16s, shift: np.uint64, even: UInt64s, odd: UInt64s) -> None:
    """Count a stretch in 16 counters of 4 bits in each lane, and add these to counters of 8 bits.

    even, odd: [COUNT_LANES], each word 8 counters, of the even levels and of the odd ones.
    """
    for lane in range(COUNT_LANES):
        packed = np.uint64(0)
        for term in range(FULL):
            packed += np.uint64(1) << (np.uint64(levels[term * COUNT_LANES + lane]) >> shift)
        even[lane] += packed & EVEN
        odd[lane] += (packed >> np.uint64(4)) & EVEN


@njit()
def _empty(counters: UInt64s, first: int, top: int, counts: Counts) -> None:
    """Move the counters of every second level, from `first` on, to the counts of exponents."""
    for position in range(8):
        total = np.uint64(0)
        for lane in range(COUNT_LANES):
            total += (counters[lane] >> np.uint64(8 * position)) & np.uint64(0xFF)
        level = first + 2 * position
        if level < LEVELS and total:
            counts[top - level] += np.int64(total)
    counters[:] = np.uint64(0)


@njit()
def _count_others(
    fields: UInt16s, levels: UInt16s, lowest: np.uint16, mantissa_bits: int, counts: Counts
) -> None:
    """Count one by one the exponents that are below all levels and not 0: few, so most lanes have none."""
    for start in range(0, STRETCH, COUNT_LANES):
        if _largest(levels[start : start + COUNT_LANES]) == lowest:
            for i in range(start, start + COUNT_LANES):
                if levels[i] == lowest and fields[i]:
                    counts[fields[i] >> mantissa_bits] += 1


@compiled
def count_exponents(upper: Words, stride: int, mantissa_bits: int, counts: Counts) -> None:
    """Add the biased exponents of N elements to counts [exponent values].

    upper: words of 8 or 16 bits, [N · stride], of which every stride-th holds sign, exponent and
    `mantissa_bits` more. Nearly all exponents of a matrix are 0 or one of LEVELS neighbours below a top
    exponent. They are counted with SIMD: sixteen 4-bit counters per 64-bit word, which saves one store per
    element. The top is chosen anew when the counters of 8 bits are emptied, or
    if it did not fit a stretch.
    """
    mask, one_level = np.uint16((len(counts) - 1) << mantissa_bits), np.uint16(1 << mantissa_bits)
    lowest, shift = np.uint16(LEVELS << mantissa_bits), np.uint64(mantissa_bits - 2)  # 4 bits a level
    fields, levels = np.empty(STRETCH, np.uint16), np.empty(STRETCH, np.uint16)
    even, odd = np.zeros(COUNT_LANES, np.uint64), np.zeros(COUNT_LANES, np.uint64)
    top, rounds, stretch_words = np.uint16(0), 0, STRETCH * stride
    whole_words = upper.size // stretch_words * stretch_words
    for start in range(0, whole_words, stretch_words):
        _exponent_fields(upper[start : start + stretch_words], stride, mask, fields)
        if rounds % COUNTER_ROUNDS == 0:
            _empty(even, 0, int(top) >> mantissa_bits, counts)
            _empty(odd, 1, int(top) >> mantissa_bits, counts)
            top = np.uint16(_largest(fields) + one_level)  # the next stretches' may be a little larger
        rounds += 1
        others = _levels_below(fields, top, lowest, levels)
        zeros = _zeros(fields) if others and top >= lowest else 0
        others -= zeros
        if others > MANY_OTHERS:  # the exponents have changed: choose a new top for the next stretch
            rounds = 0
            for field in fields:
                counts[field >> mantissa_bits] += 1
            continue
        _count_levels(levels, shift, even, odd)
        counts[0] += zeros
        if others:
            _count_others(fields, levels, lowest, mantissa_bits, counts)
    _empty(even, 0, int(top) >> mantissa_bits, counts)
    _empty(odd, 1, int(top) >> mantissa_bits, counts)
    for i in range(whole_words + stride - 1, upper.size, stride):
        counts[(upper[i] & mask) >> mantissa_bits] += 1


def _folding(value_of: Callable[[Any], float]) -> Callable[..., None]:
    """A loop that folds QUAD_ROWS rows of LANE_DIMS elements; `value_of` gives an element's value.

    Each element is widened once and stays in a register for all sums that it enters.
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
        signed: NDArray[np.float64],
        total: NDArray[np.float64],
    ) -> None:
        lanes0, lanes1, lanes2, lanes3 = lanes[0], lanes[1], lanes[2], lanes[3]
        signed0, signed1, signed2, signed3 = signed[0], signed[1], signed[2], signed[3]
        for lane in range(LANE_DIMS):  # a loop of fixed length is five times as fast
            a, b, c, d = value(row0[lane]), value(row1[lane]), value(row2[lane]), value(row3[lane])
            sign = signs[lane]
            lanes0[lane] += a * a
            lanes1[lane] += b * b
            lanes2[lane] += c * c
            lanes3[lane] += d * d
            signed0[lane] += a * sign
            signed1[lane] += b * sign
            signed2[lane] += c * sign
            signed3[lane] += d * sign
            total[lane] = (a + b) + (c + d)

    return fold_block


def _of_float(value: np.floating) -> float:
    return np.float64(value)


def _of_bfloat16(word: np.unsignedinteger) -> float:
    """The value of a bfloat16: its bits are the upper half of a float32's."""
    return np.float64(np.uint32(np.uint32(word) << np.uint32(16)).view(np.float32))


def _of_float16(word: np.unsignedinteger) -> float:
    """The value of a float16, by the bits of a float32. Arithmetic alone: no table fits the first cache."""
    magnitude = np.int32(word) & np.int32(0x7FFF)
    normal = (magnitude << np.int32(13)) + np.int32(112 << 23)  # the biases are 15 and 127
    normal += np.int32(112 << 23) if magnitude >= np.int32(0x7C00) else np.int32(0)  # infinity, NaN
    small = np.float32(np.float32(magnitude) * np.float32(2.0**-24)).view(np.int32)  # subnormal, and zero
    unsigned = small if magnitude < np.int32(0x400) else normal
    bits = np.uint32(np.uint32(unsigned) | (np.uint32(word) & np.uint32(0x8000)) << np.uint32(16))
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
    """A buffer [QUAD_ROWS, LANE_DIMS] whose rows begin with a cache line, as wide vectors need.

    Rows are not a power of two apart: the cache takes such addresses for the same one.
    """
    width = LANE_DIMS + LINE_BYTES // 8
    buffer = np.empty((QUAD_ROWS + 1) * width)
    start = (LINE_BYTES - buffer.ctypes.data % LINE_BYTES) % LINE_BYTES // 8
    return buffer[start : start + QUAD_ROWS * width].reshape(QUAD_ROWS, width)


@njit()
def _halve(lanes: NDArray[np.float64], half: int) -> None:
    """Add the upper half of each row's lanes to the lower one."""
    for row in range(QUAD_ROWS):
        row_lanes = lanes[row]
        for lane in range(half):
            row_lanes[lane] += row_lanes[half + lane]


@njit()
def _add_pairwise(sums: NDArray[np.float64]) -> None:
    """Pairwise sum of [2^n, D] over the first axis; it replaces the first row."""
    count = len(sums)
    while count > 1:
        count //= 2
        for i in range(count):
            lower, upper, added = sums[2 * i], sums[2 * i + 1], sums[i]
            for d in range(len(added)):
                added[d] = lower[d] + upper[d]


@njit()
def _copy_start(stored: NDArray[Any], r: int, start: int, block: NDArray[Any]) -> None:
    """Copy the end of QUAD_ROWS rows, from dimension `start` on."""
    for row in range(QUAD_ROWS):
        for d in range(stored.shape[1] - start):
            block[row, d] = stored[r + row, start + d]


@njit(forceinline=True)  # bfloat16 is a tenth faster than with a call for each quad
def _fold_quad(
    stored: NDArray[Any],
    r: int,
    bfloat16: bool | None,
    float16: bool | None,
    table: NDArray[np.float32] | None,
    signs: NDArray[np.float64],
    lanes: NDArray[np.float64],
    signed: NDArray[np.float64],
    total: NDArray[np.float64],
    last: NDArray[Any],
    wide: NDArray[np.float32],
) -> None:
    """Set the lanes of squares and of signed values of QUAD_ROWS rows from `r` on, and their sum, [padded D].

    last, wide: buffers [QUAD_ROWS, LANE_DIMS]; `last` holds zeros behind the last dimensions.
    """
    dims = stored.shape[1]
    for row in range(QUAD_ROWS):
        for lane in range(LANE_DIMS):
            lanes[row, lane] = signed[row, lane] = 0.0
    for start in range(0, len(signs), LANE_DIMS):
        end = start + LANE_DIMS
        sign, added = signs[start:end], total[start:end]
        if end <= dims:
            row0, row1 = stored[r, start:end], stored[r + 1, start:end]
            row2, row3 = stored[r + 2, start:end], stored[r + 3, start:end]
        else:
            _copy_start(stored, r, start, last)
            row0, row1, row2, row3 = last[0], last[1], last[2], last[3]
        if bfloat16 is not None:
            _fold_bfloat16(row0, row1, row2, row3, sign, lanes, signed, added)
        elif float16 is not None:
            _fold_float16(row0, row1, row2, row3, sign, lanes, signed, added)
        elif table is None:
            _fold_floats(row0, row1, row2, row3, sign, lanes, signed, added)
        else:
            _look_up(row0, table, wide[0])
            _look_up(row1, table, wide[1])
            _look_up(row2, table, wide[2])
            _look_up(row3, table, wide[3])
            _fold_floats(wide[0], wide[1], wide[2], wide[3], sign, lanes, signed, added)


@njit()
def _squared_length(values: NDArray[np.float64], squares: NDArray[np.float64]) -> float:
    """‖values‖² of 128 values, added in halves by loops of fixed length. squares: a buffer, [64]."""
    for lane in range(64):
        upper = values[64 + lane]
        squares[lane] = values[lane] * values[lane] + upper * upper
    for lane in range(32):
        squares[lane] += squares[32 + lane]
    for lane in range(16):
        squares[lane] += squares[16 + lane]
    for lane in range(8):
        squares[lane] += squares[8 + lane]
    even = (squares[0] + squares[4]) + (squares[2] + squares[6])
    return float(even + ((squares[1] + squares[5]) + (squares[3] + squares[7])))


@njit()
def _store_directions(
    lanes: NDArray[np.float64], squares: NDArray[np.float64], single: NDArray[np.float32], fine: UInt16s
) -> None:
    """Set fine [QUAD_ROWS, 128] to the rows' first lanes at length 1, as bfloat16; zeros if a row has none.

    squares, single: buffers, [64] and [128]. The same bits as `fine_directions` in projection.py.
    """
    words = single.view(np.uint32)
    for row in range(QUAD_ROWS):
        values, stored = lanes[row], fine[row]
        squared = _squared_length(values, squares)
        if not 0.0 < squared < np.inf:
            stored[:] = np.uint16(0)
            continue
        factor = 1.0 / np.sqrt(squared)
        for lane in range(DIRECTION_DIMS):
            single[lane] = np.float32(values[lane] * factor)
        for lane in range(DIRECTION_DIMS):  # rounded to the nearest, ties to even
            word = words[lane]
            odd = (word >> np.uint32(16)) & np.uint32(1)
            stored[lane] = np.uint16((word + np.uint32(0x7FFF) + odd) >> np.uint32(16))


@njit(forceinline=True)
def _halve_lanes(
    lanes: NDArray[np.float64],
    signed: NDArray[np.float64],
    squares: NDArray[np.float64],
    single: NDArray[np.float32],
    fine: UInt16s,
) -> None:
    """Add the lanes in halves: of squares until one is left, of signed values until PROJECTION_DIMS are.

    fine: set to the directions [QUAD_ROWS, 128], when as many are left. squares, single: buffers.
    """
    half = LANE_DIMS // 2
    while half > 0:
        _halve(lanes, half)
        if half >= PROJECTION_DIMS:
            _halve(signed, half)
        if half == DIRECTION_DIMS:
            _store_directions(signed, squares, single, fine)
        half //= 2


@njit(forceinline=True)
def _add_quads(totals: NDArray[np.float64], added: NDArray[np.float64]) -> None:
    """Set added [D] to the pairwise sum of the 8 quads of a group, [8, padded D], in one sweep."""
    for d in range(len(added)):
        lower = (totals[0, d] + totals[1, d]) + (totals[2, d] + totals[3, d])
        added[d] = lower + ((totals[4, d] + totals[5, d]) + (totals[6, d] + totals[7, d]))


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
    projected: NDArray[np.float64],
    fine: UInt16s,
    groups: NDArray[np.float64],
) -> None:
    """Exponent counts, squared norms [R], projections [R, 32], fine directions [R, 128], and column sums.

    They are those of stored rows, [R, D].

    stored: float32 or float64; or words, with what they are: bfloat16, float16, or a table of the values of
    all words of 8 bits. The other two are None, as branches on None are not compiled. upper: the same in
    words of 8 or 16 bits, [R, D · stride], and mantissa_bits of the upper one, as in `count_exponents`; empty
    counts if nobody asks for them.
    signs: of the dimensions, padded with zeros to whole LANE_DIMS. groups: zeros [2^n, D], a buffer for the
    sums of each GROUP_ROWS rows; the sum of all rows replaces the first.
    """
    dims, quads = stored.shape[1], GROUP_ROWS // QUAD_ROWS
    stride = upper.shape[1] // dims
    totals = np.empty((quads, len(signs)))
    lanes, signed = _lanes(), _lanes()
    last = np.zeros((QUAD_ROWS, LANE_DIMS), stored.dtype)
    wide = np.empty((QUAD_ROWS, LANE_DIMS), np.float32)
    squares, single = np.empty(DIRECTION_DIMS // 2), np.empty(DIRECTION_DIMS, np.float32)
    for group in range(stored.shape[0] // GROUP_ROWS):
        first = group * GROUP_ROWS
        if len(counts):
            count_exponents(upper[first : first + GROUP_ROWS].reshape(-1), stride, mantissa_bits, counts)
        for quad in range(quads):
            r = first + quad * QUAD_ROWS
            _fold_quad(stored, r, bfloat16, float16, table, signs, lanes, signed, totals[quad], last, wide)
            _halve_lanes(lanes, signed, squares, single, fine[r : r + QUAD_ROWS])
            for row in range(QUAD_ROWS):
                squared[r + row] = lanes[row, 0]
                for lane in range(PROJECTION_DIMS):
                    projected[r + row, lane] = signed[row, lane]
        _add_quads(totals, groups[group])
    _add_pairwise(groups)
