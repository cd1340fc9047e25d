"""Rows of ggml's quantised blocks, decoded to float32: the types that most files of llama.cpp have.

A block holds 32 or 256 neighbouring elements of a row: levels of a few bits, and factors. The products and
sums are those of the package `gguf`, in float32 and in its order, so that each value has the same bits.

Each loop takes rows [R, bytes of a row], the values of all float16 [65536], and WIDTH, and fills values
[R, D]. WIDTH is an argument because the compiler unrolls loops of a known short length, and then makes no
vectors of them: a block of Q8_0 took 2.3 times as long.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from survey.onepass.kernels.jit import compiled, njit

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

WIDTH = 32  # elements of a small block, and of a part of a large one
HALF_VALUES: Floats = np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)

LOW, HIGH, ONE, TWO, FOUR = np.uint8(0x0F), np.uint8(0xF0), np.uint8(1), np.uint8(2), np.uint8(4)
SIX_BITS, UPPER_TWO = np.uint8(0x3F), np.uint8(0x30)


@njit(inline="always")
def _half(block: Bytes, at: int, halves: Floats) -> np.float32:
    """The float16 at a byte of a block."""
    value: np.float32 = halves[np.int64(block[at]) | (np.int64(block[at + 1]) << 8)]
    return value


@njit(inline="always")
def _six_bit(packed: Bytes, part: int) -> tuple[np.float32, np.float32]:
    """The scale and the minimum of a part of a block, 6 bits each: eight pairs in 12 bytes."""
    if part < 4:
        return np.float32(packed[part] & SIX_BITS), np.float32(packed[part + 4] & SIX_BITS)
    scale = (packed[part + 4] & LOW) | ((packed[part - 4] >> TWO) & UPPER_TWO)
    least = (packed[part + 4] >> FOUR) | ((packed[part] >> TWO) & UPPER_TWO)
    return np.float32(scale), np.float32(least)


@njit(inline="always")
def _fifth_bits(block: Bytes, at: int, width: int, fifth: Bytes) -> None:
    """Spread 32 bits in 4 bytes, each to 16 or 0."""
    bits = np.uint32(0)
    for byte in range(4):
        bits |= np.uint32(block[at + byte]) << np.uint32(8 * byte)
    for i in range(width):
        fifth[i] = np.uint8(((bits >> np.uint32(i)) & np.uint32(1)) << np.uint32(4))


@compiled
def q8_0(rows: Bytes, halves: Floats, width: int, values: Floats) -> None:
    """float16 factor, 32 signed bytes."""
    for r in range(rows.shape[0]):
        for b in range(rows.shape[1] // 34):
            block, decoded = rows[r, 34 * b : 34 * b + 34], values[r, 32 * b : 32 * b + 32]
            factor, levels = _half(block, 0, halves), block[2:]
            for i in range(width):
                decoded[i] = np.float32(np.int8(levels[i])) * factor


@compiled
def q4_0(rows: Bytes, halves: Floats, width: int, values: Floats) -> None:
    """float16 factor, 32 levels of 4 bits from -8 on: low halves of 16 bytes, then high halves."""
    half_width = width >> 1
    for r in range(rows.shape[0]):
        for b in range(rows.shape[1] // 18):
            block, low, high = rows[r, 18 * b : 18 * b + 18], values[r, 32 * b :], values[r, 32 * b + 16 :]
            factor, levels = _half(block, 0, halves), block[2:]
            for i in range(half_width):
                low[i] = factor * np.float32(np.int32(levels[i] & LOW) - np.int32(8))
            for i in range(half_width):
                high[i] = factor * np.float32(np.int32(levels[i] >> FOUR) - np.int32(8))


@compiled
def q4_1(rows: Bytes, halves: Floats, width: int, values: Floats) -> None:
    """float16 factor and minimum, 32 levels of 4 bits as in Q4_0 from 0 on."""
    half_width = width >> 1
    for r in range(rows.shape[0]):
        for b in range(rows.shape[1] // 20):
            block, low, high = rows[r, 20 * b : 20 * b + 20], values[r, 32 * b :], values[r, 32 * b + 16 :]
            factor, least, levels = _half(block, 0, halves), _half(block, 2, halves), block[4:]
            for i in range(half_width):
                low[i] = factor * np.float32(np.int32(levels[i] & LOW)) + least
            for i in range(half_width):
                high[i] = factor * np.float32(np.int32(levels[i] >> FOUR)) + least


@compiled
def q5_0(rows: Bytes, halves: Floats, width: int, values: Floats) -> None:
    """float16 factor, 32 fifth bits, 32 levels of 4 bits; from -16 on."""
    half_width, fifth = width >> 1, np.empty(32, np.uint8)
    for r in range(rows.shape[0]):
        for b in range(rows.shape[1] // 22):
            block, low, high = rows[r, 22 * b : 22 * b + 22], values[r, 32 * b :], values[r, 32 * b + 16 :]
            factor, levels, upper = _half(block, 0, halves), block[6:], fifth[16:]
            _fifth_bits(block, 2, width, fifth)
            for i in range(half_width):
                low[i] = factor * np.float32(np.int32((levels[i] & LOW) | fifth[i]) - np.int32(16))
            for i in range(half_width):
                high[i] = factor * np.float32(np.int32((levels[i] >> FOUR) | upper[i]) - np.int32(16))


@compiled
def q5_1(rows: Bytes, halves: Floats, width: int, values: Floats) -> None:
    """float16 factor and minimum, 32 fifth bits, 32 levels of 4 bits; from 0 on."""
    half_width, fifth = width >> 1, np.empty(32, np.uint8)
    for r in range(rows.shape[0]):
        for b in range(rows.shape[1] // 24):
            block, low, high = rows[r, 24 * b : 24 * b + 24], values[r, 32 * b :], values[r, 32 * b + 16 :]
            factor, least, levels = _half(block, 0, halves), _half(block, 2, halves), block[8:]
            upper = fifth[16:]
            _fifth_bits(block, 4, width, fifth)
            for i in range(half_width):
                low[i] = factor * np.float32(np.int32((levels[i] & LOW) | fifth[i])) + least
            for i in range(half_width):
                high[i] = factor * np.float32(np.int32((levels[i] >> FOUR) | upper[i])) + least


@compiled
def q4_k(rows: Bytes, halves: Floats, width: int, values: Floats) -> None:
    """float16 factors of scales and of minima, eight of each; 256 levels of 4 bits."""
    for r in range(rows.shape[0]):
        for b in range(rows.shape[1] // 144):
            block, decoded = rows[r, 144 * b : 144 * b + 144], values[r, 256 * b : 256 * b + 256]
            factor, least_factor, packed = _half(block, 0, halves), _half(block, 2, halves), block[4:]
            for pair in range(4):
                levels, low, high = block[16 + 32 * pair :], decoded[64 * pair :], decoded[64 * pair + 32 :]
                scale, least = _six_bit(packed, 2 * pair)
                scale, least = factor * scale, least_factor * least
                for i in range(width):
                    low[i] = scale * np.float32(np.int32(levels[i] & LOW)) - least
                scale, least = _six_bit(packed, 2 * pair + 1)
                scale, least = factor * scale, least_factor * least
                for i in range(width):
                    high[i] = scale * np.float32(np.int32(levels[i] >> FOUR)) - least


@compiled
def q5_k(rows: Bytes, halves: Floats, width: int, values: Floats) -> None:
    """As Q4_K, with the fifth bits of its eight parts in 32 bytes."""
    for r in range(rows.shape[0]):
        for b in range(rows.shape[1] // 176):
            block, decoded = rows[r, 176 * b : 176 * b + 176], values[r, 256 * b : 256 * b + 256]
            factor, least_factor, packed = _half(block, 0, halves), _half(block, 2, halves), block[4:]
            fifth = block[16:]
            for pair in range(4):
                levels, low, high = block[48 + 32 * pair :], decoded[64 * pair :], decoded[64 * pair + 32 :]
                bit = np.uint8(2 * pair)
                scale, least = _six_bit(packed, 2 * pair)
                scale, least = factor * scale, least_factor * least
                for i in range(width):
                    level = (levels[i] & LOW) | (((fifth[i] >> bit) & ONE) << FOUR)
                    low[i] = scale * np.float32(np.int32(level)) - least
                bit = np.uint8(2 * pair + 1)
                scale, least = _six_bit(packed, 2 * pair + 1)
                scale, least = factor * scale, least_factor * least
                for i in range(width):
                    level = (levels[i] >> FOUR) | (((fifth[i] >> bit) & ONE) << FOUR)
                    high[i] = scale * np.float32(np.int32(level)) - least


@compiled
def q6_k(rows: Bytes, halves: Floats, width: int, values: Floats) -> None:
    """256 levels of 6 bits from -32 on (4 bits, then the upper 2), sixteen signed scales, float16 factor."""
    levels, half_width = np.empty(256, np.uint8), width >> 1
    for r in range(rows.shape[0]):
        for b in range(rows.shape[1] // 210):
            block, decoded = rows[r, 210 * b : 210 * b + 210], values[r, 256 * b : 256 * b + 256]
            for half in range(2):
                first, second = block[64 * half :], block[64 * half + 32 :]
                upper, part = block[128 + 32 * half :], levels[128 * half :]
                part1, part2, part3 = part[32:], part[64:], part[96:]
                for i in range(width):
                    bits, a, c = upper[i], first[i], second[i]
                    part[i] = (a & LOW) | ((bits & np.uint8(0x03)) << FOUR)
                    part1[i] = (c & LOW) | ((bits & np.uint8(0x0C)) << TWO)
                    part2[i] = (a >> FOUR) | (bits & UPPER_TWO)
                    part3[i] = (c >> FOUR) | ((bits & np.uint8(0xC0)) >> TWO)
            factor = _half(block, 208, halves)
            for sixteenth in range(16):
                scale = factor * np.float32(np.int8(block[192 + sixteenth]))
                stored, out = levels[16 * sixteenth :], decoded[16 * sixteenth :]
                for i in range(half_width):
                    out[i] = scale * np.float32(np.int32(stored[i]) - np.int32(32))
