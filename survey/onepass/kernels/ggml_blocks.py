"""Rows of ggml's quantised blocks, decoded to float32: the types that most files of llama.cpp have.

A block holds 32 or 256 neighbouring elements of a row: levels of a few bits, and factors. The products and
sums are those of the package `gguf`, in float32 and in its order, so that each value has the same bits.

Arguments as in `row_loops`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from survey.onepass.kernels.jit import njit
from survey.onepass.kernels.level_values import (
    float16_at,
    int8_at,
    product,
    scaled,
    store_differences,
    store_products,
    store_sums,
)
from survey.onepass.kernels.level_vectors import (
    bits_of,
    byte_at,
    either,
    load_bits,
    load_halves,
    load_levels,
    lowered,
    shifted_down,
    shifted_up,
)

LOW, FIFTH, TWO, FOUR = np.uint8(0x0F), np.uint8(0x10), np.uint8(2), np.uint8(4)
SIX_BITS, UPPER_TWO = np.uint8(0x3F), np.uint8(0x30)
EIGHT, SIXTEEN, THIRTY_TWO = (
    np.uint8(8),
    np.uint8(16),
    np.uint8(32),
)  # the distance of the lowest level from 0


@njit(inline="always")
def _six_bits(packed: Any, at: int, part: int) -> tuple[np.uint8, np.uint8]:
    """The scale and the minimum of a part of a block, 6 bits each: eight pairs in 12 bytes."""
    if part < 4:
        return byte_at(packed, at + part) & SIX_BITS, byte_at(packed, at + part + 4) & SIX_BITS
    lower = byte_at(packed, at + part + 4)
    scale = (lower & LOW) | ((byte_at(packed, at + part - 4) >> TWO) & UPPER_TWO)
    least = (lower >> FOUR) | ((byte_at(packed, at + part) >> TWO) & UPPER_TWO)
    return scale, least


@njit(inline="always")
def _five_bits(packed: Any, fifths: int, fours: int) -> Any:
    """32 levels of 5 bits: the fifth bits of all, then the lower halves of 16 bytes, then the upper ones."""
    return either(load_halves(packed, fours), bits_of(load_bits(packed, fifths), FIFTH))


def q8_0(packed: Any, values: Any, dims: int, _numbers: Any, _table: Any) -> None:
    """float16 factor, 32 signed bytes."""
    for b in range(dims // 32):
        at = 34 * b
        factor = float16_at(packed, at)
        store_products(values, 32 * b, load_levels(packed, at + 2), factor, factor)


def q4_0(packed: Any, values: Any, dims: int, _numbers: Any, _table: Any) -> None:
    """float16 factor, 32 levels of 4 bits from -8 on: low halves of 16 bytes, then high halves."""
    for b in range(dims // 32):
        at = 18 * b
        factor = float16_at(packed, at)
        store_products(values, 32 * b, lowered(load_halves(packed, at + 2), EIGHT), factor, factor)


def q4_1(packed: Any, values: Any, dims: int, _numbers: Any, _table: Any) -> None:
    """float16 factor and minimum, 32 levels of 4 bits as in Q4_0 from 0 on."""
    for b in range(dims // 32):
        at = 20 * b
        store_sums(
            values, 32 * b, load_halves(packed, at + 4), float16_at(packed, at), float16_at(packed, at + 2)
        )


def q5_0(packed: Any, values: Any, dims: int, _numbers: Any, _table: Any) -> None:
    """float16 factor, 32 fifth bits, 32 levels of 4 bits; from -16 on."""
    for b in range(dims // 32):
        at = 22 * b
        factor, levels = float16_at(packed, at), _five_bits(packed, at + 2, at + 6)
        store_products(values, 32 * b, lowered(levels, SIXTEEN), factor, factor)


def q5_1(packed: Any, values: Any, dims: int, _numbers: Any, _table: Any) -> None:
    """float16 factor and minimum, 32 fifth bits, 32 levels of 4 bits; from 0 on."""
    for b in range(dims // 32):
        at = 24 * b
        levels = _five_bits(packed, at + 4, at + 8)
        store_sums(values, 32 * b, levels, float16_at(packed, at), float16_at(packed, at + 2))


@njit(inline="always")
def _store_part(packed: Any, values: Any, at: int, part: int, levels: Any, factors: Any) -> None:
    """An eighth of a block of 256. values: its index. factors: of scales and of minima."""
    scale, least = _six_bits(packed, at + 4, part)
    store_differences(
        values[0], values[1] + 32 * part, levels, scaled(factors[0], scale), scaled(factors[1], least)
    )


def q4_k(packed: Any, values: Any, dims: int, _numbers: Any, _table: Any) -> None:
    """float16 factors of scales and of minima, eight of each; 256 levels of 4 bits."""
    for b in range(dims // 256):
        at, block = 144 * b, (values, 256 * b)
        factors = float16_at(packed, at), float16_at(packed, at + 2)
        for pair in range(4):
            levels = load_levels(packed, at + 16 + 32 * pair)
            _store_part(packed, block, at, 2 * pair, bits_of(levels, LOW), factors)
            _store_part(packed, block, at, 2 * pair + 1, shifted_down(levels, FOUR), factors)


@njit(inline="always")
def _with_fifth(levels: Any, fifths: Any, part: int) -> Any:
    """Levels of 4 bits, and the bit of this number of others as the fifth."""
    return either(levels, bits_of(shifted_up(shifted_down(fifths, np.uint8(part)), FOUR), FIFTH))


def q5_k(packed: Any, values: Any, dims: int, _numbers: Any, _table: Any) -> None:
    """As Q4_K, with the fifth bits of its eight parts in 32 bytes."""
    for b in range(dims // 256):
        at, block = 176 * b, (values, 256 * b)
        factors, fifths = (float16_at(packed, at), float16_at(packed, at + 2)), load_levels(packed, at + 16)
        for pair in range(4):
            levels = load_levels(packed, at + 48 + 32 * pair)
            low = _with_fifth(bits_of(levels, LOW), fifths, 2 * pair)
            high = _with_fifth(shifted_down(levels, FOUR), fifths, 2 * pair + 1)
            _store_part(packed, block, at, 2 * pair, low, factors)
            _store_part(packed, block, at, 2 * pair + 1, high, factors)


@njit(inline="always")
def _store_scaled(packed: Any, values: Any, index: int, levels: Any, scales: int, factor: Any) -> None:
    """32 levels of 6 bits, with one of two signed scales for each half."""
    first, second = product(factor, int8_at(packed, scales)), product(factor, int8_at(packed, scales + 1))
    store_products(values, index, lowered(levels, THIRTY_TWO), first, second)


def q6_k(packed: Any, values: Any, dims: int, _numbers: Any, _table: Any) -> None:
    """256 levels of 6 bits from -32 on (4 bits, then the upper 2), sixteen signed scales, float16 factor."""
    for half in range(dims // 128):
        block = 210 * (half >> 1)
        at, upper, scales = (half & 1) * 64, block + 128 + (half & 1) * 32, block + 192 + (half & 1) * 8
        factor = float16_at(packed, block + 208)
        first, second = load_levels(packed, block + at), load_levels(packed, block + at + 32)
        bits, index = load_levels(packed, upper), 128 * half
        levels = either(bits_of(first, LOW), bits_of(shifted_up(bits, FOUR), UPPER_TWO))
        _store_scaled(packed, values, index, levels, scales, factor)
        levels = either(bits_of(second, LOW), bits_of(shifted_up(bits, TWO), UPPER_TWO))
        _store_scaled(packed, values, index + 32, levels, scales + 2, factor)
        levels = either(shifted_down(first, FOUR), bits_of(bits, UPPER_TWO))
        _store_scaled(packed, values, index + 64, levels, scales + 4, factor)
        levels = either(shifted_down(second, FOUR), bits_of(shifted_down(bits, TWO), UPPER_TWO))
        _store_scaled(packed, values, index + 96, levels, scales + 6, factor)
