"""One slab of rows, folded: hashed; exponents counted; squares, projections and columns summed.

All is done to a group of rows before the next, which then lies in the second cache.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from survey.onepass.geometry import (
    DIRECTION_DIMS,
    GROUP_ROWS,
    LANE_DIMS,
    PROJECTION_DIMS,
    QUAD_ROWS,
    WEIGHT_BITS,
)
from survey.onepass.kernels.columns import (
    SUMS,
    SWEEP_DIMS,
    add_columns,
    add_pairwise,
    close_pairwise,
    padded_to_sweeps,
)
from survey.onepass.kernels.exponents import (
    COUNTERS,
    STRETCH,
    Counts,
    UInt16s,
    Words,
    add_exponents,
    empty_counters,
)
from survey.onepass.kernels.float_vectors import (
    add_product,
    load_bfloat16,
    load_float16,
    load_floats,
    no_floats,
    store_floats,
)
from survey.onepass.kernels.jit import compiled, njit
from survey.onepass.kernels.row_loops import Bytes, Floats, decode_row
from survey.onepass.kernels.values import name_decoded, name_group
from survey.onepass.kernels.vectors import FLOATS
from survey.onepass.kernels.xxh3 import hash_rows

LINE_BYTES, FLOAT32_BYTES, FLOAT64_BYTES = 64, 4, 8

UInt64s = NDArray[np.uint64]


def _folding(load: Callable[..., Any]) -> Callable[..., Any]:
    """Fold 8 elements of each of QUAD_ROWS rows, which `load` brings, from an index on.

    Each element is widened once and stays in a register for all sums that it enters.
    """

    @njit(inline="always")
    def fold_vectors(rows: Any, at: int, sign: Any, squares: Any, signed: Any) -> Any:
        a, b, c, d = load(rows[0], at), load(rows[1], at), load(rows[2], at), load(rows[3], at)
        squares = (
            add_product(squares[0], a, a),
            add_product(squares[1], b, b),
            add_product(squares[2], c, c),
            add_product(squares[3], d, d),
        )
        signed = (
            add_product(signed[0], a, sign),
            add_product(signed[1], b, sign),
            add_product(signed[2], c, sign),
            add_product(signed[3], d, sign),
        )
        return squares, signed

    return fold_vectors


_fold_floats = _folding(load_floats)
_fold_bfloat16 = _folding(load_bfloat16)
_fold_float16 = _folding(load_float16)


@njit()
def _buffer(rows: int, row_bytes: int) -> Bytes:
    """A buffer [rows, ≥ row_bytes] whose rows begin with a cache line, as wide vectors need.

    Rows are not a power of two apart: the cache takes such addresses for the same one.
    """
    width = (row_bytes // LINE_BYTES + 1 | 1) * LINE_BYTES
    buffer = np.empty((rows + 1) * width, np.uint8)
    start = (LINE_BYTES - buffer.ctypes.data % LINE_BYTES) % LINE_BYTES
    return buffer[start : start + rows * width].reshape(rows, width)


@njit()
def _decode_quad(address: int, numbers: Counts, table: Floats, packed: Bytes, r: int, values: Floats) -> None:
    """Set values [QUAD_ROWS, D] to those of packed rows from `r` on, and to zeros behind the last one."""
    for row in range(QUAD_ROWS):
        if r + row < len(packed):
            decode_row(address, numbers, table, packed, r + row, values, row)
        else:
            values[row] = np.float32(0.0)


@njit()
def _halve(lanes: NDArray[np.float64], half: int) -> None:
    """Add the upper half of each row's lanes to the lower one."""
    for row in range(QUAD_ROWS):
        row_lanes = lanes[row]
        for lane in range(half):
            row_lanes[lane] += row_lanes[half + lane]


@njit()
def _copy_start(stored: NDArray[Any], r: int, start: int, block: NDArray[Any]) -> None:
    """Copy the end of QUAD_ROWS rows, from dimension `start` on."""
    for row in range(QUAD_ROWS):
        for d in range(stored.shape[1] - start):
            block[row, d] = stored[r + row, start + d]


@njit(forceinline=True)
def _fold_any(
    bfloat16: bool | None, float16: bool | None, rows: Any, at: int, sign: Any, squares: Any, signed: Any
) -> Any:
    if bfloat16 is not None:
        return _fold_bfloat16(rows, at, sign, squares, signed)
    if float16 is not None:
        return _fold_float16(rows, at, sign, squares, signed)
    return _fold_floats(rows, at, sign, squares, signed)


@njit(forceinline=True)
def _fold_quad(
    stored: NDArray[Any],
    r: int,
    bfloat16: bool | None,
    float16: bool | None,
    signs: NDArray[np.float64],
    lanes: NDArray[np.float64],
    signed_lanes: NDArray[np.float64],
    last: NDArray[Any],
) -> None:
    """Set the lanes of squares and of signed values of QUAD_ROWS rows from `r` on.

    Lane by lane, so that its sums stay in registers. last: a buffer [QUAD_ROWS, LANE_DIMS] that holds zeros
    behind the last dimensions.
    """
    rows = (stored[r], stored[r + 1], stored[r + 2], stored[r + 3])
    ends = (last[0], last[1], last[2], last[3])
    whole = stored.shape[1] // LANE_DIMS * LANE_DIMS
    if whole < stored.shape[1]:
        _copy_start(stored, r, whole, last)
    for lane in range(0, LANE_DIMS, FLOATS):
        squares = (no_floats(), no_floats(), no_floats(), no_floats())
        signed = (no_floats(), no_floats(), no_floats(), no_floats())
        for d in range(lane, whole, LANE_DIMS):
            squares, signed = _fold_any(bfloat16, float16, rows, d, load_floats(signs, d), squares, signed)
        if whole < stored.shape[1]:
            d = whole + lane
            squares, signed = _fold_any(bfloat16, float16, ends, lane, load_floats(signs, d), squares, signed)
        store_floats(lanes[0], lane, squares[0])
        store_floats(lanes[1], lane, squares[1])
        store_floats(lanes[2], lane, squares[2])
        store_floats(lanes[3], lane, squares[3])
        store_floats(signed_lanes[0], lane, signed[0])
        store_floats(signed_lanes[1], lane, signed[1])
        store_floats(signed_lanes[2], lane, signed[2])
        store_floats(signed_lanes[3], lane, signed[3])


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
def _store_fine(
    lanes: NDArray[np.float64], squares: NDArray[np.float64], single: NDArray[np.float32], fine: UInt16s
) -> None:
    """Set fine [≤ QUAD_ROWS, 128] to the rows' first lanes at length 1, as bfloat16; zeros if a row has none.

    squares, single: buffers, [64] and [128].
    """
    words = single.view(np.uint32)
    for row in range(len(fine)):
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


@njit()
def _store_rows(
    lanes: NDArray[np.float64],
    signed: NDArray[np.float64],
    norms: NDArray[np.float64],
    finite: NDArray[np.bool_],
    directions: NDArray[np.float32],
    weights: NDArray[np.float64],
) -> None:
    """Set the norms of a quad's rows, whether they are finite, and their directions; zeros if it has none.

    weights: 1 / norm in 24 bits, so that a value's product with it is exact; 0 if a row has no direction.
    """
    weights[:] = 0.0
    inverse = np.empty(1)
    for row in range(len(norms)):
        norm, direction = np.sqrt(lanes[row, 0]), directions[row]
        norms[row], finite[row] = norm, norm < np.inf
        if 0.0 < norm < np.inf:
            inverse[0] = 1.0 / norm
            inverse.view(np.uint64)[0] &= np.uint64(WEIGHT_BITS)
            weights[row] = inverse[0]
            for lane in range(PROJECTION_DIMS):
                direction[lane] = np.float32(signed[row, lane] / norm)
        else:
            direction[:] = np.float32(0.0)


@njit(forceinline=True)
def _halve_lanes(
    lanes: NDArray[np.float64],
    signed: NDArray[np.float64],
    squares: NDArray[np.float64],
    single: NDArray[np.float32],
    fine: UInt16s,
) -> None:
    """Add the lanes in halves: of squares until one is left, of signed values until PROJECTION_DIMS are.

    fine: set to the directions [≤ QUAD_ROWS, 128], when as many are left. squares, single: buffers.
    """
    half = LANE_DIMS // 2
    while half > 0:
        _halve(lanes, half)
        if half >= PROJECTION_DIMS:
            _halve(signed, half)
        if half == DIRECTION_DIMS:
            _store_fine(signed, squares, single, fine)
        half //= 2


@compiled
def fold_rows(
    upper: Words,
    stored: NDArray[Any],
    bfloat16: bool | None,
    float16: bool | None,
    address: int | None,
    numbers: Counts,
    table: Floats,
    packed: Bytes,
    mantissa_bits: int,
    counts: Counts,
    signs: NDArray[np.float64],
    last: NDArray[Any],
    sums: NDArray[np.float64],
    norms: NDArray[np.float64],
    finite: NDArray[np.bool_],
    directions: NDArray[np.float32],
    fine: UInt16s,
    digests: UInt64s,
    singles: NDArray[np.uint32] | None,
    buffers: Any,
    named: Any,
) -> None:
    """The sums of stored rows [R, D], in whole groups, and what each of the first N ≤ R has of its own.

    stored: float32 or float64; or words, with what they are: bfloat16 or float16, of which the other is None,
    as branches on None are not compiled. upper: the same in words of 8 or 16 bits, [R, D · stride], and
    mantissa_bits of the upper one, as in `count_exponents`. packed: the bytes of rows, [R, ·]. address,
    numbers, table: of the loop that decodes these to float32 (see `row_loops`); they need not be whole groups
    then, and stored has no rows; address is None if they are not decoded.
    signs: of the dimensions, padded with zeros to whole LANE_DIMS. last: zeros [QUAD_ROWS, LANE_DIMS], a
    buffer of numbers as they are summed. sums: a buffer [n + 1, SUMS · padded D] for at most 2^n groups; its
    last row is set to the sums of all rows, as in `add_columns`; rows behind the first N have the weight 0.
    Exponents are added to counts, if these are not empty. Set are norms [N], finite [N], directions [N, 32],
    fine [N, 128], and digests [H, 2] of the first rows; and, if there are buffers, named: forms, hashes and
    held as in `values.name_rows`. singles: of float32, the words.
    """
    dims, quads = stored.shape[1], GROUP_ROWS // QUAD_ROWS
    added, ends = np.empty((SUMS, padded_to_sweeps(dims))), np.zeros((GROUP_ROWS, SWEEP_DIMS), stored.dtype)
    weights = np.zeros(GROUP_ROWS)
    lane_bytes = LANE_DIMS * FLOAT64_BYTES
    lanes = _buffer(QUAD_ROWS, lane_bytes).view(np.float64)
    signed = _buffer(QUAD_ROWS, lane_bytes).view(np.float64)
    squares, single = np.empty(DIRECTION_DIMS // 2), np.empty(DIRECTION_DIMS, np.float32)
    counters, state, fields = (
        np.zeros(COUNTERS, np.uint16),
        np.zeros(2, np.int64),
        np.empty(STRETCH, np.uint16),
    )
    decoded_dims = 0 if address is None else dims
    values = _buffer(GROUP_ROWS, decoded_dims * FLOAT32_BYTES).view(np.float32)[:, :decoded_dims]
    decoded_ends = np.zeros((GROUP_ROWS, SWEEP_DIMS), np.float32)
    for group in range(-(-len(packed) // GROUP_ROWS)):
        first = group * GROUP_ROWS
        hash_rows(packed[first : first + GROUP_ROWS], digests[first : first + GROUP_ROWS])
        upper_words, stride = upper[first : first + GROUP_ROWS].reshape(-1), upper.shape[1] // dims
        if singles is not None and name_group(singles, first, len(counts) > 0, buffers, named):
            upper_words, stride = buffers[2], 1
        if len(counts):
            add_exponents(upper_words, stride, mantissa_bits, counts, counters, state, fields)
        for quad in range(quads):
            r = first + quad * QUAD_ROWS
            if address is None:
                _fold_quad(stored, r, bfloat16, float16, signs, lanes, signed, last)
            else:
                decoded = values[quad * QUAD_ROWS : (quad + 1) * QUAD_ROWS]
                _decode_quad(address, numbers, table, packed, r, decoded)
                if buffers is not None:
                    name_decoded(decoded, r, buffers, named)
                _fold_quad(decoded, 0, None, None, signs, lanes, signed, last)
            rows = slice(r, r + QUAD_ROWS)
            _halve_lanes(lanes, signed, squares, single, fine[rows])
            _store_rows(
                lanes, signed, norms[rows], finite[rows], directions[rows], weights[quad * QUAD_ROWS :]
            )
        if address is None:
            add_columns(stored[first : first + GROUP_ROWS], bfloat16, float16, weights, ends, added)
        else:
            add_columns(values, None, None, weights, decoded_ends, added)
        add_pairwise(added.reshape(-1), sums, group)
    empty_counters(counters, state, mantissa_bits, counts)
    close_pairwise(sums, -(-len(packed) // GROUP_ROWS))
