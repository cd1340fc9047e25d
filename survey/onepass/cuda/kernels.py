"""Kernels that fold rows that lie in the memory of a GPU, which Triton compiles when they are first launched.

Floats are added in the order of survey/onepass/sums.py, so that a GPU gives the CPU's bits. Three things keep
it: sums over lanes and rows are written as sums of halves and of neighbours (`tl.sum` chooses its own order,
and adds only whole numbers here); no product is fused with a sum (`LAUNCH`); and division and roots of
float64 are rounded correctly on a GPU, as on a CPU. Constants are arguments, as kernels read no globals.
"""

from __future__ import annotations

import triton
import triton.language as tl

# A fused multiply-add rounds once instead of twice, and changes the last bit.
LAUNCH = {"enable_fp_fusion": False}


@triton.jit
def _widened(words, table, FORMAT: tl.constexpr):
    """The values of stored words in float64; exact."""
    if FORMAT == "F64":
        values = words.to(tl.float64, bitcast=True)
    elif FORMAT == "F32":
        values = words.to(tl.float32, bitcast=True).to(tl.float64)
    elif FORMAT == "F16":
        values = words.to(tl.float16, bitcast=True).to(tl.float32).to(tl.float64)
    elif FORMAT == "BF16":
        upper = words.to(tl.uint16, bitcast=True).to(tl.uint32) << 16
        values = upper.to(tl.float32, bitcast=True).to(tl.float64)
    else:  # of 8 bits
        values = tl.load(table + words.to(tl.uint8, bitcast=True).to(tl.int32)).to(tl.float64)
    return values


@triton.jit
def _upper_half_added(lanes, ROWS: tl.constexpr, WIDTH: tl.constexpr):
    """[ROWS, 2 · WIDTH] -> [ROWS, WIDTH]."""
    lower, upper = tl.split(tl.permute(tl.reshape(lanes, (ROWS, 2, WIDTH)), (0, 2, 1)))
    return lower + upper


@triton.jit
def _neighbours_added(values, PAIRS: tl.constexpr, DIMS: tl.constexpr):
    """[2 · PAIRS, DIMS] -> [PAIRS, DIMS]."""
    even, odd = tl.split(tl.permute(tl.reshape(values, (PAIRS, 2, DIMS)), (0, 2, 1)))
    return even + odd


@triton.jit
def _power_of_two(exponents):
    """2^e for normal results."""
    return ((exponents + 1023) << 52).to(tl.float64, bitcast=True)


@triton.jit
def _scale_exponents(starts, present, dims, ROWS: tl.constexpr, LANES: tl.constexpr):
    """The exponent e of each row of float64 that divides it by 2^e, [ROWS]: as `scaled` in sums_cpu.py."""
    lane = tl.arange(0, LANES)
    largest = tl.zeros((ROWS, LANES), tl.int64)
    for start in range(0, dims, LANES):
        d = start + lane
        words = tl.load(starts + d[None, :], mask=present[:, None] & (d < dims)[None, :], other=0)
        largest = tl.maximum(
            largest, words & 0x7FFFFFFFFFFFFFFF
        )  # floats without sign are ordered as integers
    bits = tl.max(largest, axis=1)
    field = bits >> 52
    exponents = tl.minimum(tl.maximum(field - 1022, -1000), 1000)
    return tl.where((bits == 0) | (field == 0x7FF), 0, exponents)


@triton.jit
def _stored_directions(lanes, ROWS: tl.constexpr, WIDTH: tl.constexpr):
    """Lanes [ROWS, WIDTH = 128] at length 1, as bfloat16; zeros if a row has none. As `fine_directions`."""
    squares = _upper_half_added(lanes * lanes, ROWS, WIDTH // 2)
    squares = _upper_half_added(squares, ROWS, WIDTH // 4)
    squares = _upper_half_added(squares, ROWS, WIDTH // 8)
    squares = _upper_half_added(squares, ROWS, WIDTH // 16)
    squares = _upper_half_added(squares, ROWS, WIDTH // 32)
    squares = _upper_half_added(squares, ROWS, WIDTH // 64)
    squares = _upper_half_added(squares, ROWS, WIDTH // 128)  # [ROWS, 1]
    usable = (squares > 0.0) & (squares < float("inf"))
    factors = 1.0 / tl.sqrt(tl.where(usable, squares, 1.0))
    single = tl.where(usable, lanes * factors, 0.0).to(tl.float32)
    words = single.to(tl.uint32, bitcast=True)
    return ((words + 0x7FFF + ((words >> 16) & 1)) >> 16).to(tl.uint16)  # to the nearest, ties to even


@triton.jit(do_not_specialize=["rows"])
def fold_rows(
    stored,
    table,
    signs,
    rows,
    dims,
    squared,
    scales,
    projected,
    fine,
    FORMAT: tl.constexpr,
    ROWS: tl.constexpr,
    LANES: tl.constexpr,
):
    """Squared norms [R], of F64 their scales [R], projected directions [R, 32], fine directions [R, 128].

    stored: words [R, D]. table: values of words of 8 bits. signs: of the dimensions, padded to whole LANES.
    """
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    present, lane = row < rows, tl.arange(0, LANES)
    starts = stored + row[:, None] * dims
    squares = tl.zeros((ROWS, LANES), tl.float64)
    signed = tl.zeros((ROWS, LANES), tl.float64)
    if FORMAT == "F64":
        exponents = _scale_exponents(starts, present, dims, ROWS, LANES)
        tl.store(scales + row, _power_of_two(exponents), mask=present)
        inverse = _power_of_two(-exponents)
    for start in range(0, dims, LANES):
        d = start + lane
        words = tl.load(starts + d[None, :], mask=present[:, None] & (d < dims)[None, :], other=0)
        values = _widened(words, table, FORMAT)
        if FORMAT == "F64":
            values = values * inverse[:, None]
        squares += values * values
        signed += values * tl.load(signs + d)[None, :]
    squares = _upper_half_added(squares, ROWS, LANES // 2)
    squares = _upper_half_added(squares, ROWS, LANES // 4)
    squares = _upper_half_added(squares, ROWS, LANES // 8)
    squares = _upper_half_added(squares, ROWS, LANES // 16)
    squares = _upper_half_added(squares, ROWS, LANES // 32)
    squares = _upper_half_added(squares, ROWS, LANES // 64)
    squares = _upper_half_added(squares, ROWS, LANES // 128)
    squares = _upper_half_added(squares, ROWS, LANES // 256)  # [ROWS, 1]
    tl.store(squared + row[:, None], squares, mask=present[:, None])
    signed = _upper_half_added(signed, ROWS, LANES // 2)
    directions = _stored_directions(signed, ROWS, LANES // 2)
    column = tl.arange(0, LANES // 2)
    tl.store(fine + row[:, None] * (LANES // 2) + column[None, :], directions, mask=present[:, None])
    signed = _upper_half_added(signed, ROWS, LANES // 4)
    signed = _upper_half_added(signed, ROWS, LANES // 8)
    usable = (squares > 0.0) & (squares < float("inf"))
    lengths = tl.sqrt(tl.where(usable, squares, 1.0))
    directions = tl.where(usable, signed / lengths, 0.0).to(tl.float32)
    column = tl.arange(0, LANES // 8)
    tl.store(projected + row[:, None] * (LANES // 8) + column[None, :], directions, mask=present[:, None])


@triton.jit
def _inverse_norms(squared, row, present):
    """1 / norm in 24 bits, [ROWS], 0 if a row has no direction: as `weights` in survey/onepass/sums.py."""
    squares = tl.load(squared + row, mask=present, other=0.0)
    usable = (squares > 0.0) & (squares < float("inf"))
    inverse = 1.0 / tl.sqrt(tl.where(usable, squares, 1.0))
    cut = (inverse.to(tl.uint64, bitcast=True) >> 29) << 29
    return tl.where(usable, cut.to(tl.float64, bitcast=True), 0.0)


@triton.jit(do_not_specialize=["rows"])
def add_groups(
    stored,
    table,
    kept,
    squared,
    scales,
    rows,
    dims,
    groups,
    FORMAT: tl.constexpr,
    MASKED: tl.constexpr,
    OF: tl.constexpr,
    DIMS: tl.constexpr,
):
    """Pairwise sums of each 32 rows of [R, D], to groups [⌈R / 32⌉, D]; rows that are left out are zeros.

    kept: 1 for each row that is summed, [R], if MASKED. OF: "values", their "squares", or rows at length 1,
    "units", by `squared` and `scales` of `fold_rows`.
    """
    group = tl.program_id(0).to(tl.int64)
    row, d = group * 32 + tl.arange(0, 32), tl.program_id(1) * DIMS + tl.arange(0, DIMS)
    present = row < rows
    if MASKED:
        present = present & (tl.load(kept + row, mask=present, other=0) != 0)
    there = present[:, None] & (d < dims)[None, :]
    words = tl.load(stored + row[:, None] * dims + d[None, :], mask=there, other=0)
    values = _widened(words, table, FORMAT)
    if OF == "squares":
        values = values * values
    elif OF == "units":
        if FORMAT == "F64":
            values = values / tl.load(scales + row, mask=present, other=1.0)[:, None]
        values = values * _inverse_norms(squared, row, present)[:, None]
    values = _neighbours_added(values, 16, DIMS)
    values = _neighbours_added(values, 8, DIMS)
    values = _neighbours_added(values, 4, DIMS)
    values = _neighbours_added(values, 2, DIMS)
    values = _neighbours_added(values, 1, DIMS)
    tl.store(groups + group * dims + d[None, :], values, mask=(d < dims)[None, :])


@triton.jit(do_not_specialize=["elements"])
def count_exponents(
    stored,
    elements,
    counts,
    SHIFT: tl.constexpr,
    VALUES: tl.constexpr,
    BINS: tl.constexpr,
    BLOCK: tl.constexpr,
    BLOCKS: tl.constexpr,
):
    """Add the biased exponents of the words to counts, int64 [BINS]; words past the last count as zeros.

    BINS: at least VALUES, the number of exponents, and a warp's threads.
    """
    first = tl.program_id(0).to(tl.int64) * (BLOCK * BLOCKS)
    total = tl.zeros((BINS,), tl.int32)
    for block in range(BLOCKS):
        element = first + block * BLOCK + tl.arange(0, BLOCK)
        words = tl.load(stored + element, mask=element < elements, other=0)
        fields = ((words >> SHIFT) & (VALUES - 1)).to(tl.int32)
        total += tl.histogram(fields, BINS)
    tl.atomic_add(counts + tl.arange(0, BINS), total.to(tl.int64))
