"""Rows of floats as shorter floats, if that is exact.

By bits, so that nothing is rounded: a zero keeps its sign, and a NaN its payload if that fits. Loops go by
index over slices, without branches, and keep results in 32 bits: that makes vectors.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from survey.onepass.kernels.exponents import UInt16s
from survey.onepass.kernels.jit import njit
from survey.onepass.kernels.xxh3 import HashWords

HOLDS_E4M3, HOLDS_E5M2, HOLDS_F16 = np.uint8(1), np.uint8(2), np.uint8(4)
EIGHT_BITS = HOLDS_E4M3 | HOLDS_E5M2
PROBE, STEP = 32, 256  # elements, after which a loop may end early
# Magnitudes of bfloat16: the least normal value of float16, and the largest below infinity in it.
LEAST_HALF, MOST_HALF = np.uint16(0x3880), np.uint16(0x477F)  # E5M2 has the same exponents
LEAST_E4M3, MOST_E4M3, MOST_E5M2 = np.uint16(0x3C80), np.uint16(0x43E0), np.uint16(0x4760)

UInt32s = NDArray[np.uint32]


@njit()
def set_upper_halves(row: UInt32s, narrow: UInt16s) -> bool:
    """Set narrow [D] to the upper halves of a row of float32; whether the lower ones are zeros."""
    low = np.uint32(0)
    for d in range(row.size):
        word = row[d]
        narrow[d] = np.uint16(word >> np.uint32(16))
        low = np.uint32(low | word)
    return bool(low & np.uint32(0xFFFF) == 0)


@njit()
def may_lack(row: UInt32s, bits: np.uint32) -> bool:
    """Whether the first values of float32, but for tiny ones, lack these bits: else no more need be read."""
    low = np.uint32(0)
    for d in range(min(row.size, PROBE)):
        is_tiny = np.uint32(row[d] & np.uint32(0x7FFFFFFF)) < np.uint32(0x38800000)
        low = np.uint32(low | (np.uint32(0) if is_tiny else row[d]))
    return bool(low & bits == 0)


@njit()
def set_halves(row: UInt32s, added: NDArray[np.float32], halves: UInt16s) -> bool:
    """Set halves [D] to a row of float32 as float16; whether it is exact. If it is not, some are not set.

    A value below 2^-14 is subnormal there: added to 0.5 it loses what float16 does not hold, and its units of
    2^-24 are the last bits of the sum. added: a buffer, [STEP].
    """
    values, added_words = row.view(np.float32), added.view(np.uint32)
    for start in range(0, row.size, STEP):
        words, kept, step_values = row[start : start + STEP], halves[start : start + STEP], values[start:]
        for d in range(words.size):
            added[d] = abs(step_values[d]) + np.float32(0.5)
        lost = np.uint32(0)
        for d in range(words.size):
            magnitude = np.uint32(words[d] & np.uint32(0x7FFFFFFF))
            is_finite, is_small = magnitude < np.uint32(0x7F800000), magnitude < np.uint32(0x38800000)
            bias = np.uint32(112 << 10) if is_finite else np.uint32(224 << 10)
            normal = np.uint32((magnitude >> np.uint32(13)) - bias)
            half = np.uint32(added_words[d] - np.uint32(0x3F000000)) if is_small else normal
            below = np.uint32(0) if is_small else np.uint32(magnitude & np.uint32(0x1FFF))
            beyond = np.uint32(1) if is_finite and magnitude >= np.uint32(0x47800000) else np.uint32(0)
            lost = np.uint32(lost | below | beyond)
            kept[d] = np.uint16(half | np.uint32((words[d] >> np.uint32(16)) & np.uint32(0x8000)))
        for d in range(words.size):
            added[d] = added[d] - np.float32(0.5)
        for d in range(words.size):
            magnitude = np.uint32(words[d] & np.uint32(0x7FFFFFFF))
            change = np.uint32(added_words[d] ^ magnitude)
            lost = np.uint32(lost | (change if magnitude < np.uint32(0x38800000) else np.uint32(0)))
        if lost:
            return False
    return True


@njit()
def set_narrow(row: UInt16s, small: NDArray[np.float32], narrow: UInt16s) -> bool:
    """Set narrow [D] to a row of float16 as bfloat16; whether it is exact. If it is not, some are not set.

    small: a buffer, [STEP].
    """
    low = np.uint16(0)
    for d in range(min(row.size, PROBE)):  # of a row that is not, no more need be read
        low = np.uint16(low | (row[d] if np.uint16(row[d] & np.uint16(0x7FFF)) >= 0x400 else np.uint16(0)))
    if low & np.uint16(7):
        return False
    small_words = small.view(np.uint32)
    for start in range(0, row.size, STEP):
        words, kept = row[start : start + STEP], narrow[start : start + STEP]
        for d in range(words.size):  # as float32, if it is subnormal
            small[d] = np.float32(np.int32(words[d] & np.uint16(0x7FFF))) * np.float32(2.0**-24)
        lost = np.uint32(0)
        for d in range(words.size):
            magnitude = np.uint32(words[d] & np.uint16(0x7FFF))
            normal = np.uint32((magnitude << np.uint32(13)) + np.uint32(112 << 23))
            if magnitude >= 0x7C00:
                normal = np.uint32(normal + np.uint32(112 << 23))
            single = small_words[d] if magnitude < 0x400 else normal
            lost = np.uint32(lost | single)
            kept[d] = np.uint16((single >> np.uint32(16)) | (words[d] & np.uint16(0x8000)))
        if lost & np.uint32(0xFFFF):
            return False
    return True


@njit()
def set_singles(row: HashWords, singles: UInt32s) -> bool:
    """Set singles [D] to a row of float64 as float32; whether it is exact. If it is not, some are not set."""
    for start in range(0, row.size, STEP):
        words, kept = row[start : start + STEP], singles[start : start + STEP]
        lost = np.uint64(0)
        for d in range(words.size):
            magnitude = np.uint64(words[d] & np.uint64(0x7FFFFFFFFFFFFFFF))
            exponent = np.uint64(magnitude >> np.uint64(52))
            hidden = np.uint64(1 << 52) if exponent > np.uint64(0) else np.uint64(0)
            # Below 897 subnormal in float32, in units of 2^-149.
            shift = np.uint64(926) - exponent if exponent < np.uint64(897) else np.uint64(29)
            shift = min(shift, np.uint64(63))
            mantissa = (magnitude & np.uint64(0xFFFFFFFFFFFFF)) | hidden
            bias = np.uint64(896 << 23) if exponent < np.uint64(2047) else np.uint64(1792 << 23)
            upper = (magnitude >> np.uint64(29)) - bias
            bits = upper if exponent > np.uint64(896) else mantissa >> shift
            below = (np.uint64(1) << shift) - np.uint64(1)
            is_beyond = np.uint64(1) if np.uint64(1150) < exponent < np.uint64(2047) else np.uint64(0)
            lost |= (mantissa & below) | is_beyond
            sign = (words[d] >> np.uint64(32)) & np.uint64(0x80000000)
            kept[d] = np.uint32(bits | sign)
        if lost:
            return False
    return True


@njit()
def _lost_bits(
    magnitude: np.uint32, least: np.uint32, mantissa_bits: np.uint32, most: np.uint32
) -> np.uint32:
    """Not 0 if a format of 8 bits does not hold a magnitude of bfloat16.

    least: the exponent, in bfloat16, of the format's least normal value. most: its largest finite magnitude.
    """
    exponent = np.uint32(magnitude >> np.uint32(7))
    subnormal = np.uint32(least - exponent) if exponent < least else np.uint32(0)
    below = np.uint32(min(np.uint32(np.uint32(7) - mantissa_bits + subnormal), np.uint32(8)))
    is_small = np.uint32(1) if below > 7 and magnitude > 0 else np.uint32(0)
    is_large = np.uint32(1) if magnitude > most else np.uint32(0)
    return np.uint32((magnitude & np.uint32((np.uint32(1) << below) - np.uint32(1))) | is_small | is_large)


@njit()
def _plainly_held(narrow: UInt16s) -> np.uint8:
    """Formats of 8 bits that hold a row of bfloat16 as zeros and normal values: others may, too."""
    low, least, most = np.uint16(0), np.uint16(0xFFFF), np.uint16(0)
    for d in range(narrow.size):
        magnitude = np.uint16(narrow[d] & np.uint16(0x7FFF))
        low = np.uint16(low | magnitude)
        least = min(least, np.uint16(magnitude - np.uint16(1)))  # of zero it is the largest number
        most = max(most, magnitude)
    held = np.uint8(0)
    if low & np.uint16(0xF) == 0 and least >= LEAST_E4M3 - 1 and most <= MOST_E4M3:
        held |= HOLDS_E4M3
    if low & np.uint16(0x1F) == 0 and least >= LEAST_HALF - 1 and most <= MOST_E5M2:
        held |= HOLDS_E5M2
    return held


@njit()
def held_in_eight_bits(narrow: UInt16s, held: np.uint8) -> np.uint8:
    """held, less the formats of 8 bits that do not hold a row of bfloat16."""
    if not held & EIGHT_BITS & ~_plainly_held(narrow):
        return held
    for start in range(0, narrow.size, STEP):
        if not held & EIGHT_BITS:
            break
        words = narrow[start : start + STEP]
        not_e4m3, not_e5m2 = np.uint32(0), np.uint32(0)
        for d in range(words.size):
            magnitude = np.uint32(words[d] & np.uint16(0x7FFF))
            lost = _lost_bits(magnitude, np.uint32(121), np.uint32(3), np.uint32(0x43E0))
            lost = lost if words[d] != np.uint16(0x7FC0) else np.uint32(0)  # its only NaN, without a sign
            not_e4m3 = np.uint32(not_e4m3 | lost)
            most = np.uint32(0x4760) if magnitude < np.uint32(0x7F80) else np.uint32(0x7FFF)
            lost = _lost_bits(magnitude, np.uint32(113), np.uint32(2), most)
            not_e5m2 = np.uint32(not_e5m2 | lost)
        if not_e4m3:
            held &= ~HOLDS_E4M3
        if not_e5m2:
            held &= ~HOLDS_E5M2
    return held


@njit()
def is_normal_in_float16(narrow: UInt16s) -> bool:
    """Whether all of a row of bfloat16 are zero or normal in float16, which then holds them."""
    least, most = np.uint16(0xFFFF), np.uint16(0)
    for d in range(narrow.size):
        magnitude = np.uint16(narrow[d] & np.uint16(0x7FFF))
        least = min(least, np.uint16(magnitude - np.uint16(1)))  # of zero it is the largest number
        most = max(most, magnitude)
    return bool(least >= LEAST_HALF - 1 and most <= MOST_HALF)
